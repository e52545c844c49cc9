//! What you will see: texts checked against a list of words that each worker loads once, how far the tasks are while
//! they run, and a summary made of the same events.
//!
//! ```sh
//! cargo run -p taskloom-examples --bin 05_state_and_progress            # threads
//! cargo run -p taskloom-examples --bin 05_state_and_progress -- procs
//! ```
//!
//! The idea: what is expensive to make is made once a worker, by a `#[task(state)]` function; and everything that happens
//! in a pool is one stream of events, whichever backend it is. Log records come home too, with their task.

use std::{
    collections::HashSet,
    env,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use taskloom::{Context, Event, TaskError, task};

/// What each worker keeps: it never leaves it, so it may be anything.
struct Dictionary(HashSet<String>);

/// Loads the words. A real one would read a file, open a database, or start a model.
#[task(state)]
fn dictionary(words: String) -> Dictionary {
    log::info!("a worker loads its dictionary");
    Dictionary(words.split_whitespace().map(str::to_owned).collect())
}

/// Words of the text that are not in the worker's dictionary.
#[task]
fn unknown_words(cx: &Context, text: String) -> Result<Vec<String>, String> {
    let Dictionary(known) = cx.state().ok_or("this pool has no dictionary")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut unknown = Vec::new();
    for (done, word) in words.iter().enumerate() {
        if !known.contains(*word) {
            unknown.push((*word).to_owned());
        }
        cx.progress(done as u64 + 1, words.len() as u64);
    }
    log::info!("{} of {} words are unknown", unknown.len(), words.len());
    Ok(unknown)
}

/// What a program makes of events: here, three numbers.
#[derive(Default)]
struct Seen {
    started: AtomicU64,
    words: AtomicU64,
    finished: AtomicU64,
}

impl Seen {
    fn note(&self, event: &Event) {
        match event {
            Event::Started { .. } => self.started.fetch_add(1, Ordering::Relaxed),
            Event::Progress { .. } => self.words.fetch_add(1, Ordering::Relaxed),
            Event::Finished(_) => self.finished.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

fn main() -> Result<(), TaskError> {
    taskloom::init();
    // In this process alone: records of workers travel here, and know their task.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format(|line, record| match taskloom::current_task() {
            Some(task) => writeln!(line, "[task {task}] {}", record.args()),
            None => writeln!(line, "{}", record.args()),
        })
        .init();

    let name = env::args().nth(1).unwrap_or_else(|| "threads".to_owned());
    let seen = Arc::new(Seen::default());
    let noting = seen.clone();
    let pool = taskloom::pool(&name)?
        .workers(2)
        .init(dictionary::task("to be or not that is the question".to_owned()))
        .on_event(move |event| noting.note(event))
        .build()?;

    let texts = ["to be or not to be", "whether tis nobler in the mind", "that is the question"];
    for unknown in pool.map(texts.map(String::from).map(unknown_words::task)) {
        println!("unknown: {}", unknown?.join(" "));
    }

    // Everything has been told when the pool has ended.
    pool.join();
    let Seen { started, words, finished } = &*seen;
    println!("{started:?} tasks started, {finished:?} finished, {words:?} words seen");
    Ok(())
}
