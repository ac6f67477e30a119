//! `bn claims`: what the documents say of batch norm, asked of our runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bn_documents::blueprint::Document;
use bn_documents::claims::{self, Verdict};
use bn_documents::report::claims::{figure_text, markdown, page};
use bn_documents::source::examples;
use bn_page::WholeFile;
use clap::Args;

use crate::{invocation, progress, style};

/// What `bn claims` takes.
#[derive(Args)]
pub struct Arguments {
    /// How many seeds each claim is asked with
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The folder of CIFAR-10's files, as they are distributed; without it the digits stand in
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to write claims.html, claims.md and claims.json
    #[arg(long, value_name = "DIR", default_value = "bn-train/claims")]
    output: PathBuf,
}

/// Measures all claims, prints them and writes the page.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let Arguments { seeds, data, output, .. } = arguments;
    fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let cifar10 = data.as_deref().map(|folder| examples(Document::MachineCurve, Some(folder))).transpose()?;
    let bar = progress::bar(claims::COUNT, "claims");
    let claims = claims::all(*seeds, cifar10.as_ref(), &mut |claim| {
        bar.inc(1);
        bar.set_prefix(format!("  {}", claim.name));
    })?;
    bar.finish_and_clear();
    for claim in &claims {
        let verdict = match claim.verdict {
            Verdict::Holds => style::good(claim.verdict),
            Verdict::Compared => claim.verdict.to_string(),
            _ => style::doubtful(claim.verdict),
        };
        anstream::println!("{verdict}: {} ({} of {seeds} seeds)", claim.name, claim.shown);
        anstream::println!("{}", style::paragraph(&format!("    {}", claim.statement)));
        for figure in &claim.figures {
            anstream::println!(
                "{}",
                style::paragraph(&format!("    {}: {}", figure.what, figure_text(figure)))
            );
        }
    }
    let command = invocation::this_command();
    WholeFile::create(&output.join("claims.html"))?.finish(page(&claims, &command))?;
    WholeFile::create(&output.join("claims.md"))?.finish(markdown(&claims, &command))?;
    let json = serde_json::to_string_pretty(&claims)? + "\n";
    WholeFile::create(&output.join("claims.json"))?.finish(json)?;
    anstream::println!("written to {}", output.display());
    Ok(true)
}
