//! On what: the machine, as it belongs beside every number.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cuda::CudaDevice;

/// A last cache where the machine does not say: as large as they commonly are.
const LAST_CACHE: usize = 32 << 20;
/// How long to look at what else is running.
const LOOK: Duration = Duration::from_millis(500);

/// What a run was made on. What the system does not tell is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// The instruction set architecture: `x86_64`.
    pub architecture: String,
    /// Those extensions of it that kernels choose between.
    pub instruction_sets: Vec<String>,
    /// How many threads run at once.
    pub threads: usize,
    /// Caches for data, from the first level on.
    pub caches: Vec<DataCache>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// The system, with the version of its kernel.
    pub os: String,
    /// Whether large pages are given unasked: `always`, `madvise`, `never`.
    pub huge_pages: Option<String>,
    /// How many processes wanted to run before the run began, on the average of 1, 5
    /// and 15 minutes.
    pub load_average: Option<[f64; 3]>,
    /// How many processors others kept busy just before the run.
    pub busy: Option<f64>,
    /// The GPU, where the run was made on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<CudaDevice>,
}

/// A cache that data passes through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataCache {
    /// 1 is the nearest.
    pub level: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Machine {
    /// Looks around, for half a second.
    pub fn look() -> Machine {
        Machine {
            processor: processor(),
            architecture: env::consts::ARCH.into(),
            instruction_sets: instruction_sets(),
            threads: threads(),
            caches: caches(),
            memory: memory(),
            os: os(),
            huge_pages: huge_pages(),
            load_average: load_average(),
            busy: busy(),
            cuda: None,
        }
    }

    /// What makes figures of this run doubtful, if anything does.
    pub fn warning(&self) -> Option<String> {
        let busy = self.busy.filter(|&busy| busy > 0.2)?;
        Some(format!(
            "others keep {busy:.1} of {} processors busy: these figures are not to be quoted",
            self.threads
        ))
    }
}

/// Makes the C allocator keep what is handed back, so that large tensors of
/// libtorch come from memory that is mapped already. A fresh mapping for each
/// result would have its page faults timed: several times the arithmetic.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt sets two numbers of the allocator, before it has threads to share with.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}

/// Seconds since 1970; 0 where the clock stands before.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How many threads the machine offers.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of the last cache; 32 MiB where that is not known.
pub fn last_cache() -> usize {
    caches().last().map_or(LAST_CACHE, |cache| cache.bytes)
}

/// The variable that names the revision of a program that runs far from its checkout.
pub const REVISION: &str = "BN_REVISION";

/// The commit, and a mark where the checkout differs from it: as [`REVISION`] says, or git.
pub fn revision() -> String {
    if let Ok(revision) = env::var(REVISION) {
        return revision;
    }
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    match git {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().into(),
        _ => "unknown".into(),
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The rest of the line that begins with `key`.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(rest.trim_matches([' ', '\t', ':', '=', '"']))
}

fn processor() -> String {
    let text = read("/proc/cpuinfo").unwrap_or_default();
    value_of(&text, "model name").unwrap_or(env::consts::ARCH).into()
}

fn instruction_sets() -> Vec<String> {
    let mut found: Vec<&str> = Vec::new();
    macro_rules! look_for {
        ($detected:ident: $($name:tt)*) => { $(if std::arch::$detected!($name) { found.push($name); })* };
    }
    #[cfg(target_arch = "x86_64")]
    look_for!(is_x86_feature_detected: "sse4.1" "avx" "f16c" "fma" "avx2" "avx512f" "avx512bw" "avx512vl" "avx512bf16" "avx512fp16");
    #[cfg(target_arch = "aarch64")]
    look_for!(is_aarch64_feature_detected: "neon" "fp16" "bf16" "sve" "sve2");
    found.into_iter().map(str::to_owned).collect()
}

/// Of the first processor, as all of a kind share them.
fn caches() -> Vec<DataCache> {
    let member =
        |index: usize, name: &str| read(&format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"));
    let mut caches: Vec<DataCache> = (0..)
        .map_while(|index| Some((member(index, "type")?, member(index, "level")?, member(index, "size")?)))
        .filter(|(kind, ..)| kind != "Instruction")
        .filter_map(|(_, level, size)| {
            let kibibytes: usize = size.strip_suffix('K')?.parse().ok()?;
            Some(DataCache { level: level.parse().ok()?, bytes: kibibytes << 10 })
        })
        .collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

fn memory() -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let kibibytes: u64 = value_of(&text, "MemTotal")?.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn os() -> String {
    let text = read("/etc/os-release").unwrap_or_default();
    let name = value_of(&text, "PRETTY_NAME").unwrap_or(env::consts::OS);
    match read("/proc/sys/kernel/osrelease") {
        Some(kernel) => format!("{name}, {} {kernel}", env::consts::OS),
        None => name.into(),
    }
}

/// `always [madvise] never`: the one in brackets.
fn huge_pages() -> Option<String> {
    let text = read("/sys/kernel/mm/transparent_hugepage/enabled")?;
    Some(text.split_once('[')?.1.split_once(']')?.0.into())
}

fn load_average() -> Option<[f64; 3]> {
    let text = read("/proc/loadavg")?;
    let numbers: Vec<f64> = text.split(' ').take(3).filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().ok()
}

/// Time that processors have spent so far: working, and in all, in ticks.
fn ticks() -> Option<(f64, f64)> {
    let text = read("/proc/stat")?;
    let ticks: Vec<f64> =
        value_of(&text, "cpu ")?.split(' ').filter_map(|ticks| ticks.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let (total, idle) = (ticks.get(..8)?.iter().sum::<f64>(), ticks[3] + ticks[4]);
    Some((total - idle, total))
}

fn busy() -> Option<f64> {
    let (busy, total) = ticks()?;
    thread::sleep(LOOK);
    let (busy_later, total_later) = ticks()?;
    let share = (busy_later - busy) / (total_later - total).max(1.0);
    Some((share * threads() as f64 * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_what_belongs_beside_the_numbers() {
        let machine = Machine::look();
        assert!(!machine.processor.is_empty() && machine.threads >= 1);
        assert!(machine.memory.unwrap() > 1 << 28, "{machine:?}");
        assert!(machine.load_average.is_some() && machine.os.contains("linux"), "{machine:?}");
        let busy = machine.busy.unwrap();
        assert!((0.0..=machine.threads as f64).contains(&busy), "{machine:?}");
        assert!(machine.caches.is_sorted_by_key(|cache| cache.level));
    }

    #[test]
    fn a_machine_that_others_use_is_named() {
        let quiet = Machine { busy: Some(0.05), threads: 2, ..Machine::look() };
        assert_eq!(quiet.warning(), None);
        let shared = Machine { busy: Some(1.5), ..quiet };
        assert!(shared.warning().unwrap().starts_with("others keep 1.5 of 2 processors busy"));
    }
}
