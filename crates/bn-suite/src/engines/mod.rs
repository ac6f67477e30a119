//! The engines that come with the suite.

pub mod textbook;
