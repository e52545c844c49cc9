//! The one task, and what it may be told to do.

use std::{path::PathBuf, thread, time::Duration};

use serde::{Deserialize, Serialize};
use taskloom::{Context, task};
use taskloom_tests::{misdeeds, scratch::append_line};

/// What a task does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Its number in its round.
    pub(crate) number: u64,
    pub(crate) millis: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) argument: Vec<u8>,
    /// Bytes of the reply.
    pub(crate) reply: usize,
    pub(crate) antic: Antic,
    /// Where every start of a body is noted.
    pub(crate) journal: PathBuf,
    /// Where it is noted that a task costs its worker: garbage may be noticed only when the next task runs.
    pub(crate) strikes: PathBuf,
}

/// What a task does besides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Antic {
    None,
    Fail,
    Panic,
    /// Its own worker dies by SIGKILL.
    Kill,
    Exit,
    Log(u32),
    Progress(u32),
    /// Its worker is stopped.
    Stop,
    /// Its worker writes nonsense, and goes on.
    Garble,
    /// It takes so many bytes for a while.
    Gorge(usize),
}

impl Antic {
    /// It costs the worker.
    pub(crate) fn is_lethal(self) -> bool {
        matches!(self, Self::Kill | Self::Exit | Self::Stop | Self::Garble)
    }
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) number: u64,
    pub(crate) attempt: u32,
    sum: u64,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

impl Reply {
    /// Whether this is what the order asks for.
    pub(crate) fn answers(&self, order: &Order) -> bool {
        let filled = self.bytes.iter().all(|&byte| byte == order.number as u8);
        self.number == order.number && self.sum == sum(&order.argument) && self.bytes.len() == order.reply && filled
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum, &byte| sum.rotate_left(5) ^ u64::from(byte))
}

/// Does what it is told.
#[task]
pub(crate) fn obey(cx: &Context, order: Order) -> Result<Reply, String> {
    append_line(&order.journal, &format!("{} {}", order.number, cx.attempt()));
    if order.antic.is_lethal() {
        append_line(&order.strikes, &format!("task {} Body {:?}", cx.worker(), order.antic));
    }
    match order.antic {
        Antic::None => {}
        Antic::Fail => return Err("as told".to_owned()),
        // Without the words of the hook.
        Antic::Panic => std::panic::resume_unwind(Box::new("as told")),
        Antic::Kill => misdeeds::send_myself(libc::SIGKILL),
        Antic::Stop => misdeeds::send_myself(libc::SIGSTOP),
        Antic::Exit => std::process::exit(0),
        Antic::Garble => misdeeds::write_garbage_to_sockets(),
        Antic::Gorge(bytes) => {
            let taken = std::hint::black_box(vec![1_u8; bytes]);
            thread::sleep(Duration::from_millis(300));
            drop(taken);
        }
        Antic::Log(count) => (0..count).for_each(|n| log::info!("record {n} of task {}", order.number)),
        Antic::Progress(count) => (0..count).for_each(|n| cx.progress(n.into(), count.into())),
    }
    thread::sleep(Duration::from_millis(order.millis));
    let bytes = vec![order.number as u8; order.reply];
    Ok(Reply { number: order.number, attempt: cx.attempt(), sum: sum(&order.argument), bytes })
}
