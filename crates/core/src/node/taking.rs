//! Results are read by whoever takes them, outside of the lock: reading runs their types' code.

use crate::{
    codec::Encoded,
    error::{Kind, Lost, TaskError},
    panic,
    task::{Reach, Task},
    work::Take,
};

use super::{
    Items, Node,
    item::{Item, Stage},
};

impl<T: Task, S: Items<T>> Node<T, S> {
    /// Reads a result, which runs its type's code.
    pub(super) fn decode(&self, output: Encoded<'_>) -> Result<T::Output, TaskError> {
        panic::catch(|| <T::Reach as Reach<T>>::decode_output(self.head.slot, output))?
    }

    /// Reads the result of an item, if nobody has. It stays.
    pub(super) fn read(&self, item: u32) {
        let parcel = match &self.lock().items.as_ref()[item as usize].stage {
            Stage::Arrived(parcel) => parcel.clone(),
            _ => return,
        };
        let outcome = parcel.open(|output| self.decode(output));
        let mut cell = self.lock();
        let stage = &mut cell.items.as_mut()[item as usize].stage;
        // Two may have read it.
        let unwanted = match stage {
            Stage::Arrived(_) => std::mem::replace(stage, Stage::Done(outcome)),
            _ => Stage::Done(outcome),
        };
        drop(cell);
        panic::dispose(unwanted);
    }
}

impl<T: Task, S: Items<T>> Take<T::Output> for Node<T, S> {
    fn take(&self, item: u32) -> Option<Result<T::Output, TaskError>> {
        let mut cell = self.lock();
        let stage = &mut cell.items.as_mut()[item as usize].stage;
        match stage {
            Stage::Done(outcome) => {
                let kind = outcome.as_ref().map_or_else(TaskError::kind, |_| Kind::Succeeded);
                match std::mem::replace(stage, Stage::Taken(kind)) {
                    Stage::Done(outcome) => Some(outcome),
                    _ => None,
                }
            }
            Stage::Arrived(_) => {
                let Stage::Arrived(parcel) = std::mem::replace(stage, Stage::Taken(Kind::Succeeded)) else {
                    return None;
                };
                drop(cell);
                let outcome = parcel.open(|output| self.decode(output));
                if let Err(error) = &outcome {
                    self.lock().items.as_mut()[item as usize].stage = Stage::Taken(error.kind());
                }
                Some(outcome)
            }
            Stage::Taken(_) => {
                drop(cell);
                panic!("the outcome of this task was taken before");
            }
            _ => None,
        }
    }

    fn take_run(&self, first: u32, most: usize) -> Vec<Result<T::Output, TaskError>> {
        let mut cell = self.lock();
        let there = |item: &&mut Item<T>| matches!(item.stage, Stage::Done(_) | Stage::Arrived(_));
        let items = cell.items.as_mut()[first as usize..].iter_mut().take(most).take_while(there);
        let found: Vec<_> =
            items.map(|item| std::mem::replace(&mut item.stage, Stage::Taken(Kind::Succeeded))).collect();
        drop(cell);
        let mut taken: Vec<Result<T::Output, TaskError>> = Vec::with_capacity(found.len());
        let mut found = found.into_iter();
        while found.len() > 0 {
            let reads = panic::catch(|| {
                for stage in found.by_ref() {
                    taken.push(match stage {
                        Stage::Done(outcome) => outcome,
                        Stage::Arrived(parcel) => {
                            parcel.open(|output| <T::Reach as Reach<T>>::decode_output(self.head.slot, output))
                        }
                        _ => Err(Lost::new("its outcome was taken by somebody else").into()),
                    });
                }
            });
            // What reads the values is their types' code.
            taken.extend(reads.err().map(|panic| Err(panic.into())));
        }
        if taken.iter().any(Result::is_err) {
            let mut cell = self.lock();
            for (outcome, item) in taken.iter().zip(&mut cell.items.as_mut()[first as usize..]) {
                item.stage = Stage::Taken(outcome.as_ref().map_or_else(TaskError::kind, |_| Kind::Succeeded));
            }
        }
        taken
    }
}
