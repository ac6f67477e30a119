//! The causes in words, for those who have to mend them.

/// What is said of causes that have no words of their own, by the beginning of the id.
pub const KINDS: &[(&str, &str)] = &[
    (
        "crashes-on-",
        "A panic or an internal error is no refusal: the caller cannot tell it from a fault of the program. Return an \
         error that says what was expected and what came.",
    ),
    (
        "crashes: ",
        "The step is one that batch norm defines, and the program ended or raised an error that is not about the input. \
         The message is the engine's own.",
    ),
    (
        "declines: ",
        "The engine claims all that the step needs, and answers with an error. Either the claim is too wide or the \
         check is.",
    ),
    (
        "unsupported: ",
        "The engine claims all that the case needs, and says that it cannot do it. Either the claim is too wide or \
         something is missing.",
    ),
    (
        "not-finite-",
        "An element that should be an ordinary number came out as NaN or infinite. Most often something overflowed on \
         the way, or 0 was divided by 0.",
    ),
    (
        "special-values-",
        "A NaN or an infinity in the input reaches what depends on it and nothing else, as IEEE 754 has it. Here it is \
         lost, or spreads.",
    ),
    (
        "accepts-",
        "What PyTorch refuses is computed, and nobody learns that something does not fit. Check first, and refuse with \
         an error that says what was expected and what came.",
    ),
    (
        "zero-",
        "A gradient of 0 trains nothing, and nobody is told. Most often the pass saved nothing for its backward pass in \
         this mode.",
    ),
    (
        "unexplained-",
        "The values are beyond what any arithmetic may lose, and no mistake that the suite knows by name answers so. \
         The cases below show it.",
    ),
];

/// Id, title, explanation. A title goes with an engine as its subject: "tracks the biased
/// variance".
pub const WORDS: &[(&str, &str, &str)] = &[
    (
        "running-var-biased",
        "running_var tracks the biased variance",
        "PyTorch normalises a batch by Σ(x − μ)²/n and lets running_var track Σ(x − μ)²/(n − 1); here it tracks the \
         former. Multiply by n/(n − 1) before blending: without it, evaluation differs, most of all after batches \
         with few values per channel.",
    ),
    (
        "empty-batch-poisons",
        "an empty batch makes the running statistics 0/0",
        "The mean of no values is NaN, and it goes into running_mean and running_var, where it stays. PyTorch leaves \
         both as they are, and counts the batch.",
    ),
    (
        "eval-gradient-of-training",
        "differentiates evaluation by the formula of training",
        "In evaluation mean and variance are constants, so grad_input is w·s·grad_output and nothing else. The \
         training formula takes two means away from it, and whoever trains on with frozen statistics follows a wrong \
         gradient.",
    ),
    (
        "train-normalises-by-running-var",
        "normalises training batches by running_var",
        "In training the output is (x − mean of the batch)/√(running_var + eps), with the buffer in the place of the \
         batch's own variance. It is right only once the buffer has come near, and the gradient through the variance is \
         lost altogether.",
    ),
    (
        "momentum-inverted",
        "momentum weighs the old value",
        "running = (1 − momentum)·running + momentum·batch: momentum is the weight of the new value. Frameworks \
         that mean it the other way round have to be given 1 − momentum.",
    ),
    (
        "sums-term-by-term",
        "sums are added term by term in the elements' precision",
        "Adding n numbers one after the other may lose n·u of Σ|x|, and a running f32 total of 2²² equal terms \
         stops growing. Add in blocks or pairwise, or in f64: the cost is none where memory decides.",
    ),
    (
        "variance-uncentred",
        "the variance is E[x²] − E[x]²",
        "The two terms agree in all their leading digits when the mean is large beside the deviation, and their \
         difference keeps only rounding; it may even be negative, and its root NaN. Subtract the mean first, or \
         some value near it, or sum in f64.",
    ),
    (
        "variance-uncentred-term-by-term",
        "the variance is E[x²] − E[x]², and the sums are added term by term",
        "The two terms agree in all their leading digits when the mean is large beside the deviation, and serial \
         sums lose more of them. Subtract the mean first, or sum in f64 and in blocks.",
    ),
    (
        "one-pass",
        "the variance is E[x²] − E[x]²",
        "The two terms agree in all their leading digits when the mean is large beside the deviation, and their \
         difference keeps only rounding; it may even be negative, and its root NaN. Subtract the mean first, or \
         some value near it.",
    ),
    (
        "one-pass-clamped",
        "the variance is max(E[x²] − E[x]², 0)",
        "The two terms agree in all their leading digits when the mean is large beside the deviation; clamping \
         hides the NaN and keeps the error. Subtract the mean first, or some value near it.",
    ),
    (
        "kept-in-f32",
        "f64 input is computed in f32",
        "Half of the digits of the input are lost on the way to the answer, which is f64 in name only. Compute in \
         the input's precision, or refuse it.",
    ),
    (
        "kept-in-16-bits",
        "16-bit input is computed in 16 bits",
        "Sums and statistics of f16 or bf16 numbers need at least f32: bf16 has 8 bits, and a sum of 257 ones is \
         256. Convert on reading, round once on writing.",
    ),
    (
        "accepts-too_few_values",
        "takes one value per channel in training",
        "One value has no variance to normalise by: the output is the bias whatever the input, and n/(n − 1) is \
         1/0. PyTorch refuses it, and says which shape it got.",
    ),
    (
        "accepts-too_few_values-and-spoils-buffers",
        "takes one value per channel in training, and running_var is NaN from then on",
        "With n = 1 Bessel's factor n/(n − 1) is infinite and the variance 0, and 0·∞ goes into the buffer, where \
         it stays: every later evaluation is NaN. Refuse such a batch before anything is updated.",
    ),
    (
        "accepts-eps",
        "takes an eps that is not positive",
        "With eps = 0 a constant channel divides by 0, and with a negative one the root may be NaN. PyTorch refuses \
         both in training.",
    ),
    (
        "accepts-num_features",
        "takes input with another number of channels than the layer has",
        "What is read then is past the end of the parameters, or broadcast. Compare the lengths before computing, \
         and say both.",
    ),
    (
        "accepts-rank",
        "takes input of a rank that the layer does not have",
        "A BatchNorm2d given three axes takes one for another and normalises over the wrong values. PyTorch's \
         modules check the rank first.",
    ),
    (
        "accepts-dtype",
        "takes a mix of dtypes that batch norm does not define",
        "Which precision the statistics then have is anybody's guess. PyTorch takes one dtype throughout, or \
         16-bit input with f32 parameters.",
    ),
    (
        "accepts-shape",
        "takes a grad_output of another shape than the output",
        "The gradient of such a pair is not defined, and broadcasting makes up one. Compare the shapes.",
    ),
    (
        "accepts-running_stats",
        "takes one running statistic without the other",
        "Evaluation needs both, and training updates both. PyTorch refuses a layer that has one.",
    ),
    (
        "memory-order",
        "the answer lies in memory in another order than the input",
        "The output of a channels-last input is channels-last, or the next layer pays for a copy that nobody asked \
         for. Allocate the output like the input.",
    ),
    (
        "hangs",
        "does not come to an end",
        "No answer came within the time limit, and the program was killed and started anew for the next case. After \
         eight such cases in a row only one in forty is asked, until one is answered; the others count as failed.",
    ),
    (
        "malformed",
        "answers what is no answer",
        "A line that is not the protocol's: most often something else writes to the standard output. \
         docs/engine-protocol.md says what is expected.",
    ),
    (
        "does-not-start",
        "does not start any more",
        "After the program had ended three starts in a row failed, and it was not asked again. What its last words \
         were stands with the first of these cases.",
    ),
];
