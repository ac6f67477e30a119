//! `bn train`: a network of the documents, with batch norm and without, epoch by epoch.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bn_documents::blueprint::{Document, Norm};
use bn_documents::checkpoint::{load_training, load_weights, save_training, save_weights};
use bn_documents::data::Split;
use bn_documents::experiment::Settings;
use bn_documents::network::Engine;
use bn_documents::report::training::{Shown, Table, architecture, chart, page, table};
use bn_documents::source::examples;
use bn_documents::train::{Plan, Training};
use bn_page::WholeFile;
use bn_page::charts::standalone;
use clap::{Args, ValueEnum};

use crate::{invocation, progress, style};

/// What `bn train` takes.
#[derive(Args)]
pub struct Arguments {
    /// The network: see --list
    #[arg(required_unless_present = "list")]
    experiment: Option<Document>,
    /// List the experiments, with their networks and settings
    #[arg(long)]
    list: bool,
    /// Train the plain network alone
    #[arg(long, conflicts_with_all = ["placement", "with_bn"])]
    without_bn: bool,
    /// Train the network with batch norm alone
    #[arg(long)]
    with_bn: bool,
    /// Where batch norm is, as seen from the activation
    #[arg(long, value_enum, default_value = "before")]
    placement: Placement,
    /// The learning rate, in place of the document's
    #[arg(long, value_parser = positive)]
    lr: Option<f64>,
    /// How many epochs, in place of the document's
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Of the initial weights and of the order of the examples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder of CIFAR-10's or MNIST's files, as they are distributed
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Whose batch norm: ours, or labml's dialect with its biased running variance
    #[arg(long, value_enum, default_value = "batchnorm")]
    engine: Whose,
    /// Where to write what comes of it [default: bn-train/EXPERIMENT]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Begin anew, whatever --output holds
    #[arg(long)]
    restart: bool,
    /// Begin with these weights (safetensors, under PyTorch's names)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Placement {
    Before,
    After,
}

#[derive(Clone, Copy, ValueEnum)]
enum Whose {
    Batchnorm,
    Labml,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(lr) if lr > 0.0 && f64::is_finite(lr) => Ok(lr),
        _ => Err("expected a positive number, such as 0.01".into()),
    }
}

impl Arguments {
    /// The trainings that are asked for.
    fn plans(&self, document: Document) -> Vec<Plan> {
        let mut plan = Plan { seed: self.seed, ..Plan::new(document) };
        plan.engine = match self.engine {
            Whose::Batchnorm => Engine::Batchnorm,
            Whose::Labml => Engine::Labml,
        };
        if let Some(lr) = self.lr {
            plan = plan.with_lr(lr);
        }
        if let Some(epochs) = self.epochs {
            plan.settings.epochs = epochs as usize;
        }
        let normalised = plan.with_norm(match self.placement {
            Placement::Before => Norm::Before,
            Placement::After => Norm::After,
        });
        // Without batch norm it is nobody's.
        let plain = Plan { engine: Engine::Batchnorm, ..plan.with_norm(Norm::Without) };
        match (self.without_bn, self.with_bn) {
            (true, _) => vec![plain],
            (_, true) => vec![normalised],
            _ => vec![normalised, plain],
        }
    }
}

/// Trains, and writes curves, a page and weights.
pub fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        list();
        return Ok(true);
    }
    let document = arguments.experiment.context("an experiment is required")?;
    if arguments.weights.is_some() && !arguments.without_bn && !arguments.with_bn {
        bail!("--weights is a file of one network: say which by --with-bn or --without-bn");
    }
    let split = examples(document, arguments.data.as_deref())?;
    let name = examples_name(&split);
    let folder = arguments.output.clone().unwrap_or_else(|| Path::new("bn-train").join(document.name()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    anstream::println!("{document}: {name}");
    let started = Instant::now();
    let mut shown = Vec::new();
    for plan in arguments.plans(document) {
        let mut training = begin(arguments, plan, &folder, &name)?;
        train(&mut training, &split, &folder, &name)?;
        shown.push(Shown { plan: training.plan(), history: training.history().to_vec() });
    }
    print(&table(&shown));
    write_report(&shown, &name, &folder)?;
    anstream::println!("{:.1} s; written to {}", started.elapsed().as_secs_f64(), folder.display());
    Ok(true)
}

fn examples_name(split: &Split) -> String {
    let (train, validation) = (&split.train, &split.validation);
    format!("{} ({}) and {} ({})", train.name(), train.len(), validation.name(), validation.len())
}

fn file(folder: &Path, plan: Plan, what: &str) -> PathBuf {
    let whose = if plan.engine == Engine::Labml { "labml-" } else { "" };
    folder.join(format!("{whose}{}{what}.safetensors", plan.norm.name()))
}

/// The training that the folder holds, if it is this one; else a new one.
fn begin(arguments: &Arguments, plan: Plan, folder: &Path, examples: &str) -> Result<Training> {
    let path = file(folder, plan, ".training");
    if path.exists() && !arguments.restart {
        let (mut training, of) = load_training(&path)?;
        let mut saved = training.plan();
        saved.settings.epochs = plan.settings.epochs;
        if saved != plan || of != examples || arguments.weights.is_some() {
            bail!(
                "{} holds another training: {} on {of}. --restart replaces it, --output DIR puts this one elsewhere",
                path.display(),
                training.plan()
            );
        }
        training.set_epochs(plan.settings.epochs);
        let done = training.history().len();
        if done > 0 {
            anstream::println!("{}: goes on after epoch {done}", plan.title());
        }
        return Ok(training);
    }
    let mut training = Training::new(plan);
    if let Some(weights) = &arguments.weights {
        let state = load_weights(weights)?;
        training.network().load(&state).with_context(|| weights.display().to_string())?;
    }
    Ok(training)
}

/// So often the bar shows the loss.
const SHOW: Duration = Duration::from_millis(100);

fn train(training: &mut Training, split: &Split, folder: &Path, examples: &str) -> Result<()> {
    let plan = training.plan();
    let batches = training.batches(split.train.len());
    let bar = progress::bar(batches * plan.settings.epochs, plan.title());
    let mut last = Instant::now();
    while !training.is_finished() {
        let done = training.history().len();
        bar.set_position((done * batches) as u64);
        let epoch = training.epoch(split, &mut |batch, loss| {
            if last.elapsed() > SHOW || batch == batches {
                last = Instant::now();
                bar.set_position((done * batches + batch) as u64);
                bar.set_prefix(format!("  epoch {}  loss {loss:.4}", done + 1));
            }
        })?;
        let losses = (epoch.train_loss, epoch.validation_loss);
        bar.set_prefix(format!("  epoch {}  loss {:.4}, validation {:.4}", done + 1, losses.0, losses.1));
        // After every epoch, so that an interrupted run loses less than one, and repeats it alike.
        save_training(&file(folder, plan, ".training"), training, examples)?;
    }
    bar.finish_and_clear();
    save_weights(&file(folder, plan, ""), &training.network().state())?;
    Ok(())
}

fn print(table: &Table) {
    anstream::println!("{}:", table.caption);
    let head: Vec<&str> = table.head.iter().map(String::as_str).collect();
    anstream::println!("{}", style::table(&head, table.rows.clone(), 1..head.len()));
}

fn write_report(shown: &[Shown], examples: &str, folder: &Path) -> Result<()> {
    let title = shown.first().map_or("", |shown| shown.plan.document.name());
    let page = page(shown, examples, &invocation::this_command());
    WholeFile::create(&folder.join("report.html"))?.finish(page)?;
    WholeFile::create(&folder.join("curves.svg"))?.finish(standalone(&chart(shown), title))?;
    Ok(())
}

fn list() {
    let rows = Document::ALL.map(|document| {
        let Settings { batch, epochs, rule } = Settings::of(document);
        vec![
            document.to_string(),
            architecture(document, Norm::Before),
            rule.to_string(),
            format!("{epochs} × {batch}"),
        ]
    });
    anstream::println!(
        "{}",
        style::table(&["experiment", "network", "optimiser", "epochs × batch"], rows.to_vec(), 3..4)
    );
}
