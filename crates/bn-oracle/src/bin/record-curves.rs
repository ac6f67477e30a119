//! Writes the curves of libtorch's trainings, with how far another may be from them.
//!
//! `record-curves FOLDER`, by `scripts/record-curves`. Each file is finished before it has its name.

use std::path::Path;

use anyhow::Context;
use bn_documents::agreement::golden::{CurveFile, Recorded, path};
use bn_documents::agreement::{Run, drift};
use bn_documents::blueprint::Document;
use bn_file::WholeFile;
use bn_oracle::training::Libtorch;
use bn_oracle::version;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("usage: record-curves FOLDER")?;
    let folder = Path::new(&folder);
    for document in Document::ALL {
        let runs = Run::all().into_iter().filter(|run| run.document == document);
        let record = |run: Run| {
            eprintln!("{}", run.name());
            let trained = drift::train(run, &mut Libtorch::new(run));
            Recorded::new(run, &trained, &drift::allowances(run))
        };
        let curves = runs.map(record).collect();
        let file = CurveFile::new(document, format!("libtorch {}", version::linked()), curves);
        let text = bn_suite::fixtures::pretty(&serde_json::to_value(&file)?);
        WholeFile::create(&path(folder, document))?.finish(text)?;
    }
    Ok(())
}
