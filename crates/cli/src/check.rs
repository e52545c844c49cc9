//! Checking inputs before anything runs: on all cores, if there are many.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, TrySendError},
    },
    thread,
};

use taskloom::JsonFault;

use crate::{
    Stop,
    input::{Input, Text},
};

/// Inputs that are given to a thread at once.
const BLOCK: usize = 1024;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) good: usize,
    pub(crate) bad: usize,
    /// The first that does not fit.
    pub(crate) first: Option<(Input, JsonFault)>,
}

impl Tally {
    fn look_at(&mut self, block: Vec<Input>, fits: impl Fn(&Text) -> Result<(), JsonFault>) {
        for input in block {
            match fits(&input.text) {
                Ok(()) => self.good += 1,
                Err(fault) => {
                    self.bad += 1;
                    self.found(input, fault);
                }
            }
        }
    }

    fn found(&mut self, input: Input, fault: JsonFault) {
        if self.first.as_ref().is_none_or(|(first, _)| input.origin.at < first.origin.at) {
            self.first = Some((input, fault));
        }
    }

    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.bad += other.bad;
        if let Some((input, fault)) = other.first {
            self.found(input, fault);
        }
    }
}

/// Checks all inputs of a source.
pub(crate) fn check(
    mut inputs: impl Iterator<Item = Result<Input, Stop>>,
    fits: &(impl Fn(&Text) -> Result<(), JsonFault> + Sync),
) -> Result<Tally, Stop> {
    let mut next = || inputs.by_ref().take(BLOCK).collect::<Result<Vec<Input>, Stop>>();
    let mut tally = Tally::default();
    let first = next()?;
    let is_all = first.len() < BLOCK;
    tally.look_at(first, fits);
    if is_all {
        return Ok(tally);
    }
    let others = thread::available_parallelism().map_or(1, usize::from) - 1;
    let (sender, blocks) = mpsc::sync_channel(2 * others);
    let blocks = Mutex::new(blocks);
    let work_off = || {
        let mut tally = Tally::default();
        while let Some(block) = take(&blocks) {
            tally.look_at(block, fits);
        }
        tally
    };
    thread::scope(|scope| {
        // Without threads it is all done here.
        let spawn = |_| thread::Builder::new().name("taskloom-check".to_owned()).spawn_scoped(scope, work_off).ok();
        let others: Vec<_> = (0..others).filter_map(spawn).collect();
        loop {
            let block = match next() {
                Ok(block) if block.is_empty() => break,
                Ok(block) => block,
                Err(stop) => {
                    drop(sender);
                    return Err(stop);
                }
            };
            // Whoever reads has time for it if nobody else has.
            if let Err(TrySendError::Full(block) | TrySendError::Disconnected(block)) = sender.try_send(block) {
                tally.look_at(block, fits);
            }
        }
        drop(sender);
        tally.add(work_off());
        for other in others {
            tally.add(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        Ok(tally)
    })
}

fn take(blocks: &Mutex<Receiver<Vec<Input>>>) -> Option<Vec<Input>> {
    blocks.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit, input::Origin};

    fn inputs(count: u64) -> impl Iterator<Item = Result<Input, Stop>> {
        (1..=count).map(|at| {
            Ok(Input { origin: Origin { source: 0, at }, text: Text::Json(at.to_string().into()), key: None })
        })
    }

    #[test]
    fn all_are_counted_and_the_first_that_does_not_fit_is_found() {
        let fits = |text: &Text| match text {
            Text::Json(text) if !text.ends_with("777") => Ok(()),
            _ => Err(JsonFault::new("ends with 777")),
        };
        for (count, bad, first) in [(0, 0, None), (1023, 1, Some(777)), (1024, 1, Some(777)), (50_000, 50, Some(777))] {
            let tally = check(inputs(count), &fits).unwrap();
            assert_eq!((tally.good, tally.bad), (count as usize - bad, bad));
            assert_eq!(tally.first.map(|(input, _)| input.origin.at), first);
        }
        let from_20_000_on = |text: &Text| match text {
            Text::Json(text) if text.len() < 5 || text.starts_with('1') => Ok(()),
            _ => Err(JsonFault::new("too large")),
        };
        let tally = check(inputs(50_000), &from_20_000_on).unwrap();
        assert_eq!((tally.bad, tally.first.unwrap().0.origin.at), (30_001, 20_000));
    }

    #[test]
    fn a_source_that_fails_ends_it() {
        let fails = inputs(5000).chain([Err(Stop::new(exit::NO_INPUT, "no-input", "gone"))]);
        assert_eq!(check(fails, &|_: &Text| Ok(())).unwrap_err().exit(), exit::NO_INPUT);
    }
}
