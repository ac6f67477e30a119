//! The documents' networks as lists of named pieces, from which anyone can build them: our
//! layers here, libtorch's where the two are compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the documents' networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Document {
    /// ApX, "Implementing batch norm layers": an MLP 784-100-10 for a batch of (64, 784).
    ApxMlp,
    /// The same page: a CNN from (16, 3, 32, 32) to (16, 32, 8, 8), and the linear layer that it
    /// leaves to the reader.
    ApxCnn,
    /// The same page: a model 10-20 for a batch of (4, 10), to show evaluation mode.
    ApxEval,
    /// ApX, the hands-on page: an MLP 20-128-64-1.
    ApxHandsOn,
    /// MachineCurve: an MLP 3072-64-32-10 on CIFAR-10.
    #[serde(rename = "machinecurve")]
    MachineCurve,
    /// labml: a CNN on MNIST.
    Labml,
}

impl Document {
    /// All, in the order of the documents.
    pub const ALL: [Document; 6] = [
        Document::ApxMlp,
        Document::ApxCnn,
        Document::ApxEval,
        Document::ApxHandsOn,
        Document::MachineCurve,
        Document::Labml,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Document::ApxMlp => "apx-mlp",
            Document::ApxCnn => "apx-cnn",
            Document::ApxEval => "apx-eval",
            Document::ApxHandsOn => "apx-hands-on",
            Document::MachineCurve => "machinecurve",
            Document::Labml => "labml",
        }
    }

    /// The shape of one example.
    pub fn input(self) -> &'static [usize] {
        match self {
            Document::ApxMlp => &[784],
            Document::ApxCnn | Document::MachineCurve => &[3, 32, 32],
            Document::ApxEval => &[10],
            Document::ApxHandsOn => &[20],
            Document::Labml => &[1, 28, 28],
        }
    }

    /// How many logits the network gives.
    pub fn outputs(self) -> usize {
        match self {
            Document::ApxHandsOn => 1,
            Document::ApxEval => 20,
            _ => 10,
        }
    }

    /// The network, piece by piece.
    pub fn blueprint(self, norm: Norm) -> Vec<Named> {
        let mut network = Sketch { norm, pieces: Vec::new() };
        match self {
            Document::ApxMlp => {
                network.linear("", 784, 100).norm("", 100, "").linear("", 100, 10).numbered("")
            }
            Document::ApxCnn => network
                .conv("", [3, 16], 3, 1, true)
                .norm("", 16, "")
                .push("", Piece::MaxPool2d { kernel: 2 })
                .conv("", [16, 32], 3, 1, true)
                .norm("", 32, "")
                .push("", Piece::MaxPool2d { kernel: 2 })
                .push("", Piece::Flatten)
                .linear("", 32 * 8 * 8, 10)
                .numbered(""),
            Document::ApxEval => network.linear("", 10, 20).norm("", 20, "").numbered(""),
            Document::ApxHandsOn => network
                .linear("layer1", 20, 128)
                .norm("bn1", 128, "relu1")
                .linear("layer2", 128, 64)
                .norm("bn2", 64, "relu2")
                .linear("output_layer", 64, 1),
            Document::MachineCurve => network
                .push("", Piece::Flatten)
                .linear("", 32 * 32 * 3, 64)
                .norm("", 64, "")
                .linear("", 64, 32)
                .norm("", 32, "")
                .linear("", 32, 10)
                .numbered("layers."),
            // With batch norm behind them the document's layers have no bias; without it they
            // could not do without one.
            Document::Labml => {
                let bias = norm != Norm::Before;
                network
                    .conv("conv1", [1, 20], 5, 0, bias)
                    .norm("bn1", 20, "relu1")
                    .push("pool1", Piece::MaxPool2d { kernel: 2 })
                    .conv("conv2", [20, 50], 5, 0, bias)
                    .norm("bn2", 50, "relu2")
                    .push("pool2", Piece::MaxPool2d { kernel: 2 })
                    .push("flatten", Piece::Flatten)
                    .push("fc1", Piece::Linear { inputs: 4 * 4 * 50, outputs: 500, bias })
                    .norm("bn3", 500, "relu3")
                    .linear("fc2", 500, 10)
            }
        };
        network.pieces
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no document's network has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no experiment is called {0:?}; there are apx-mlp, apx-cnn, apx-eval, apx-hands-on, machinecurve and labml"
)]
pub struct UnknownDocument(pub String);

impl FromStr for Document {
    type Err = UnknownDocument;

    fn from_str(name: &str) -> Result<Self, UnknownDocument> {
        let found = Document::ALL.into_iter().find(|document| document.name() == name);
        found.ok_or_else(|| UnknownDocument(name.into()))
    }
}

/// Whether a network has batch norm, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Nowhere.
    Without,
    /// Before each ReLU, as the documents have it.
    Before,
    /// After each ReLU.
    After,
}

impl Norm {
    /// All three.
    pub const ALL: [Norm; 3] = [Norm::Without, Norm::Before, Norm::After];

    /// `without`, `before`, `after`.
    pub fn name(self) -> &'static str {
        match self {
            Norm::Without => "without",
            Norm::Before => "before",
            Norm::After => "after",
        }
    }
}

/// A piece under the name that its state goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The prefix of its parameters in PyTorch's state dictionary.
    pub name: String,
    /// What it is.
    pub piece: Piece,
}

/// What a network is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// (N, inputs) to (N, outputs).
    Linear {
        /// Features that come.
        inputs: usize,
        /// Features that go.
        outputs: usize,
        /// Whether it adds a bias.
        bias: bool,
    },
    /// A square kernel with stride 1.
    Conv2d {
        /// Channels that come.
        inputs: usize,
        /// Channels that go.
        outputs: usize,
        /// The kernel's side.
        kernel: usize,
        /// Zeros on each side of the image.
        padding: usize,
        /// Whether it adds a bias.
        bias: bool,
    },
    /// Batch norm with PyTorch's defaults.
    BatchNorm {
        /// Channels.
        features: usize,
    },
    /// max(x, 0).
    Relu,
    /// The largest of each square.
    MaxPool2d {
        /// The square's side, and the stride.
        kernel: usize,
    },
    /// (N, *) to (N, the product of *).
    Flatten,
}

struct Sketch {
    norm: Norm,
    pieces: Vec<Named>,
}

impl Sketch {
    fn push(&mut self, name: &str, piece: Piece) -> &mut Self {
        self.pieces.push(Named { name: name.into(), piece });
        self
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> &mut Self {
        self.push(name, Piece::Linear { inputs, outputs, bias: true })
    }

    fn conv(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        padding: usize,
        bias: bool,
    ) -> &mut Self {
        self.push(name, Piece::Conv2d { inputs, outputs, kernel, padding, bias })
    }

    /// The activation, and batch norm on one of its sides.
    fn norm(&mut self, norm: &str, features: usize, relu: &str) -> &mut Self {
        match self.norm {
            Norm::Without => self.push(relu, Piece::Relu),
            Norm::Before => self.push(norm, Piece::BatchNorm { features }).push(relu, Piece::Relu),
            Norm::After => self.push(relu, Piece::Relu).push(norm, Piece::BatchNorm { features }),
        }
    }

    /// Named by their places, as in `torch.nn.Sequential`.
    fn numbered(&mut self, prefix: &str) -> &mut Self {
        for (place, named) in self.pieces.iter_mut().enumerate() {
            named.name = format!("{prefix}{place}");
        }
        self
    }
}
