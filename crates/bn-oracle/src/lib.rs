//! libtorch as an engine of the conformance suite.
