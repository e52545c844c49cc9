//! Two processes that do nothing but answer each other: what a round trip costs without a task.

use std::{
    fs::{self, File},
    hint,
    io::{Read, Write},
    os::unix::process::parent_id,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::atomic::Ordering,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};

use crate::{compare::median, limits::SharedWord};

/// Tells the other side to end.
const END: u32 = u32::MAX;

/// The other side; ends with it.
struct Other(Child);

impl Other {
    fn start(args: &[&str], stdin: Stdio, stdout: Stdio) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?).args(args).stdin(stdin).stdout(stdout).spawn();
        Ok(Self(child.context("starting this program once more")?))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

/// Both sides spin on a word of shared memory.
pub(crate) struct Spinning {
    word: SharedWord,
    _other: Other,
}

impl Spinning {
    pub(crate) fn start() -> Result<Self> {
        let path = PathBuf::from(format!("/dev/shm/taskloom-bench-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(4096)?;
        let word = SharedWord::of(&file)?;
        let other = Other::start(&["--pong", &path.to_string_lossy()], Stdio::null(), Stdio::null())?;
        // It has the file open when it answers.
        let spinning = Self { word, _other: other };
        spinning.run(1);
        fs::remove_file(path)?;
        Ok(spinning)
    }

    /// Seconds of so many trips, by the median of parts of them: with others at work one side may not be running for a
    /// while, and that is no limit.
    pub(crate) fn run(&self, trips: usize) -> f64 {
        const PARTS: usize = 50;
        let word = self.word.get();
        let part = trips.div_ceil(PARTS);
        let times: Vec<_> = (0..PARTS)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..part {
                    word.store(1, Ordering::Release);
                    while word.load(Ordering::Acquire) != 0 {
                        hint::spin_loop();
                    }
                }
                start.elapsed().as_secs_f64() / part as f64
            })
            .collect();
        median(&times).unwrap_or_default() * trips as f64
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.word.get().store(END, Ordering::Release);
    }
}

/// The other side of [`Spinning`].
pub(crate) fn pong(path: &str) -> Result<ExitCode> {
    let parent = parent_id();
    let word = SharedWord::of(&File::options().read(true).write(true).open(path)?)?;
    let word = word.get();
    for spins in 0_u64.. {
        match word.load(Ordering::Acquire) {
            0 => hint::spin_loop(),
            END => break,
            _ => word.store(0, Ordering::Release),
        }
        // Not for ever if the other one was killed.
        if spins % (1 << 24) == 0 && parent_id() != parent {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A byte there and back through two pipes: two wake-ups.
pub(crate) struct Pipes(Other);

impl Pipes {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self(Other::start(&["--echo"], Stdio::piped(), Stdio::piped())?))
    }

    pub(crate) fn run(&mut self, trips: usize) -> Result<()> {
        let Child { stdin: Some(to), stdout: Some(from), .. } = &mut self.0.0 else { return Ok(()) };
        let mut byte = [1];
        for _ in 0..trips {
            to.write_all(&byte)?;
            from.read_exact(&mut byte)?;
        }
        Ok(())
    }
}

/// The other side of [`Pipes`].
pub(crate) fn echo() -> Result<ExitCode> {
    let (mut from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        to.write_all(&byte)?;
        to.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A bare ipc-channel each way.
pub(crate) struct Channels {
    // Dropped first: the other side ends with it.
    to: IpcSender<Vec<u8>>,
    from: IpcReceiver<Vec<u8>>,
    _other: Other,
}

impl Channels {
    /// `size` 0 for a side that gives back what it gets, else for one that answers a byte to much and much to a byte.
    pub(crate) fn start(size: usize) -> Result<Self> {
        let (server, name) = IpcOneShotServer::<Ends>::new()?;
        let other = Other::start(&["--channel", &name, &size.to_string()], Stdio::null(), Stdio::null())?;
        let (_, (to, give)) = server.accept()?;
        let (back, from) = ipc::channel()?;
        give.send(back)?;
        Ok(Self { to, from, _other: other })
    }

    pub(crate) fn trip(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.to.send(bytes)?;
        Ok(self.from.recv()?)
    }

    pub(crate) fn run(&self, trips: usize) -> Result<()> {
        for _ in 0..trips {
            let back = self.trip(vec![1; 40])?;
            ensure!(back.len() == 40, "as much comes back");
        }
        Ok(())
    }
}

/// What the other side of [`Channels`] makes.
type Ends = (IpcSender<Vec<u8>>, IpcSender<IpcSender<Vec<u8>>>);

/// The other side of [`Channels`].
pub(crate) fn channel(name: String, size: usize) -> Result<ExitCode> {
    let (to, from) = ipc::channel::<Vec<u8>>()?;
    let (give, given) = ipc::channel()?;
    IpcSender::<Ends>::connect(name)?.send((to, give))?;
    let back: IpcSender<Vec<u8>> = given.recv()?;
    let mut kept = vec![7; size];
    while let Ok(bytes) = from.recv() {
        if size == 0 {
            back.send(bytes)?;
        } else if bytes.len() > 1 {
            back.send(vec![1])?;
        } else {
            back.send(std::mem::take(&mut kept))?;
            kept = vec![7; size];
        }
    }
    Ok(ExitCode::SUCCESS)
}
