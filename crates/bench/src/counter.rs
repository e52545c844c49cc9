//! Who counts the instructions of a program: `perf`, where the processor's counters can be used; else QEMU's user mode,
//! which runs workers too; else valgrind, which does not.
//!
//! All of them on one processor: there nobody looks whether it is needed before it sleeps, and how long somebody looked
//! would be counted.

use std::{
    env, fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// The first argument of a program that is to be counted.
pub(crate) const COUNTED: &str = "--counted";

/// The words of QEMU's call, a line each, for workers of a program that is counted.
const QEMU: &str = "TASKLOOM_BENCH_QEMU";

/// Versions of QEMU's plugins, in all of which what we use is the same: 8.1 and before, and since.
const PLUGIN_VERSIONS: [u8; 2] = [1, 2];

/// A worker of a program that QEMU runs is not run by QEMU, for it starts as the plain program: it becomes what QEMU
/// runs as the first thing that it does.
pub(crate) fn join_in() -> Result<()> {
    let Ok(qemu) = env::var(QEMU) else { return Ok(()) };
    if env::args().nth(1).is_some_and(|first| first == COUNTED) {
        return Ok(());
    }
    let mut words = qemu.lines();
    let mut command = Command::new(words.next().unwrap_or_default());
    let error = command.args(words).arg(env::current_exe()?).args(env::args_os().skip(1)).env_remove(QEMU).exec();
    Err(error).context("becoming what QEMU runs")
}

/// Counts instructions outside of the kernel.
pub(crate) enum Counter {
    Perf,
    Qemu(Plugin),
    Callgrind,
}

impl Counter {
    /// The best that works here.
    ///
    /// # Errors
    /// Why none does for this backend.
    pub(crate) fn new(backend: &str) -> Result<Self> {
        let Err(perf) = Self::Perf.count(&["--end-at-once".to_owned()]) else { return Ok(Self::Perf) };
        match Plugin::build() {
            Ok(plugin) => Ok(Self::Qemu(plugin)),
            Err(_) if backend != "procs" => Ok(Self::Callgrind),
            Err(qemu) => bail!("{perf:#}; {qemu:#}; and valgrind cannot run workers"),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Qemu(_) => "qemu",
            Self::Callgrind => "callgrind",
        }
    }

    /// What this program with these arguments takes, with its workers.
    pub(crate) fn count(&self, args: &[String]) -> Result<u64> {
        self.count_of(Command::new(env::current_exe()?).args(args))
    }

    /// What another program takes.
    pub(crate) fn count_of(&self, program: &Command) -> Result<u64> {
        match self {
            Self::Perf => {
                let said = said(Command::new("perf").args(["stat", "-x,", "-e", "instructions:u", "--"]), program)?;
                let line = said.lines().find(|line| line.contains("instructions")).context("perf counts nothing")?;
                let count = line.split(',').next().unwrap_or_default();
                count.parse().ok().with_context(|| format!("perf counts no instructions here: {count}"))
            }
            Self::Qemu(plugin) => plugin.count(program),
            Self::Callgrind => {
                let options = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
                let said = said(Command::new("valgrind").args(options), program)?;
                let count = said.lines().find_map(|line| line.split_once("Collected :"));
                Ok(count.context("callgrind counts nothing")?.1.trim().parse()?)
            }
        }
    }
}

/// What makes QEMU count.
pub(crate) struct Plugin {
    folder: PathBuf,
    qemu: [String; 3],
}

impl Plugin {
    fn build() -> Result<Self> {
        let folder = env::temp_dir().join(format!("taskloom-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let file = folder.join("counter.so");
        let option = format!("{},to={}", file.display(), folder.join("counts").display());
        let plugin = Self { folder, qemu: [format!("qemu-{}", env::consts::ARCH), "-plugin".to_owned(), option] };
        let mut last = Ok(());
        for version in PLUGIN_VERSIONS {
            let mut cc = Command::new("cc");
            cc.args(["-O2", "-shared", "-fPIC", "-x", "c", "-"]).arg(format!("-DVERSION={version}"));
            let mut cc =
                cc.arg("-o").arg(&file).stdin(Stdio::piped()).spawn().context("no cc to make QEMU's plugin")?;
            cc.stdin.take().context("a pipe")?.write_all(include_bytes!("counter.c"))?;
            ensure!(cc.wait()?.success(), "cc cannot make QEMU's plugin");
            last = plugin.count(Command::new(env::current_exe()?).arg("--end-at-once")).map(drop);
            if last.is_ok() {
                break;
            }
        }
        last.map(|()| plugin)
    }

    /// The sum of what each process has noted at its end.
    fn count(&self, counted: &Command) -> Result<u64> {
        let counts = self.folder.join("counts");
        fs::write(&counts, "")?;
        let [program, options @ ..] = &self.qemu;
        said(Command::new(program).args(options).env(QEMU, self.qemu.join("\n")), counted)?;
        let counts = fs::read_to_string(counts)?;
        ensure!(!counts.is_empty(), "{program} counts nothing");
        Ok(counts.lines().map(str::parse::<u64>).sum::<Result<_, _>>()?)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // Of use to nobody, and no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a tool says of a program.
fn said(tool: &mut Command, program: &Command) -> Result<String> {
    let name = tool.get_program().to_string_lossy().into_owned();
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", &usable_processor()?]).arg(&name).args(tool.get_args());
    pinned.arg(program.get_program()).args(program.get_args());
    let variables = tool.get_envs().chain(program.get_envs());
    pinned.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let Output { status, stderr, .. } = pinned.stdin(Stdio::null()).output().context("no taskset")?;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    ensure!(status.success(), "{name} failed: {}", said.lines().last().unwrap_or_default());
    Ok(said)
}

/// The number of one that this program may use.
fn usable_processor() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("no list of processors")?;
    Ok(list.trim().split(['-', ',']).next().unwrap_or_default().to_owned())
}
