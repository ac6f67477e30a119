//! Where a result goes: to a file or to standard output, and into a history.

use std::path::PathBuf;

use anyhow::Result;
use bn_bench::history::{self, Line};
use bn_page::WholeFile;
use clap::{Args, ValueEnum};

/// What both measurements let one choose.
#[derive(Args)]
pub struct OutputArguments {
    /// How to show it.
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Where to write it, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A history to add it to: a line of JSON, without the raw samples.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// For whom.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    Table,
    /// JSON, by the schema that `bn-perf schema` prints where it is a run.
    Json,
}

/// The places, seen to be there.
pub struct Output {
    file: Option<WholeFile>,
    history: Option<PathBuf>,
}

impl OutputArguments {
    /// What cannot be written to is known before minutes are spent on what to write.
    pub fn open(&self) -> Result<Output> {
        let file = self.output.as_deref().map(WholeFile::create).transpose()?;
        if let Some(history) = self.history.as_deref().filter(|history| history.exists()) {
            history::read(history)?;
        }
        Ok(Output { file, history: self.history.clone() })
    }
}

impl Output {
    /// Writes the text.
    pub fn write(self, text: &str) -> Result<()> {
        match self.file {
            Some(file) => file.finish(text)?,
            None => print!("{text}"),
        }
        Ok(())
    }

    /// Writes the text, and the line.
    pub fn finish(self, text: &str, line: impl FnOnce() -> Line) -> Result<()> {
        let history = self.history.clone();
        self.write(text)?;
        if let Some(history) = &history {
            history::append(history, &line())?;
        }
        Ok(())
    }
}
