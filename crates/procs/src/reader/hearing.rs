//! Who hears a worker, and when: its reader's thread, whoever waits for a task, or whoever looks after it.

use std::{
    os::fd::RawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use taskloom_core::{Job, backend_api::wake_held};

use super::{NAP, Reader, Up};
use crate::{
    backend::Shared,
    line::{Exit, Line},
    places::Places,
    ring::{EAGER, Heap, LAZY},
    wire::Story,
};

/// A worker that is heard: by its reader's thread, or, over the fast lane, by whoever waits for a task and has nothing
/// better to do. One at a time.
pub(crate) struct Hearing {
    pub(super) line: Arc<Line>,
    ears: Mutex<Ears>,
}

pub(super) struct Ears {
    pub(super) up: Up,
    /// The job that the worker is at.
    pub(super) current: Option<(u64, Job)>,
    pub(super) story: Story,
    /// The task that runs.
    pub(super) task: Option<u64>,
    /// The item that ran when the worker said what no worker says, and what that was.
    pub(super) culprit: Option<((u64, u32), String)>,
    /// Nothing more will come: its rings cannot be read any more, or its channel has ended.
    pub(super) deaf: bool,
    /// Messages that are received together.
    pub(super) heap: Heap,
}

impl Hearing {
    pub(super) fn new(line: Arc<Line>, up: Up) -> Self {
        let ears = Ears {
            up,
            current: None,
            story: Story::default(),
            task: None,
            culprit: None,
            deaf: false,
            heap: Heap::default(),
        };
        Self { line, ears: Mutex::new(ears) }
    }

    pub(crate) fn slot(&self) -> u32 {
        self.line.vital.slot
    }

    /// Hears the worker until nothing more can come from it.
    pub(super) fn listen(&self, shared: &Arc<Shared>) {
        let bed = match &self.ears().up {
            Up::Plain(_) => None,
            Up::Fast(fast) => Some(fast.bed()),
        };
        let Some(bed) = bed else { return self.reader(shared, &mut self.ears()).listen_to_channel() };
        loop {
            let mut ears = self.ears();
            let mut heard = false;
            while self.reader(shared, &mut ears).listen_to_ring() {
                heard = true;
            }
            let Ears { up: Up::Fast(up), deaf, .. } = &mut *ears else { return };
            if *deaf || up.has_ended() && !up.has_some() {
                return;
            }
            // Much comes just now: it is cheaper for both to look again in a moment than to be woken by each message.
            let (tone, limit) = if heard { (LAZY, Some(NAP)) } else { (EAGER, None) };
            let quiet = up.set_bell(tone).unwrap_or(false);
            drop(ears);
            if quiet {
                bed.rest(tone, limit);
            }
            if tone == EAGER {
                shared.has_been_heard();
            }
        }
    }

    /// Hears what is there, unless somebody else does just now, or it may run anybody's code. From here until
    /// [`leave`](Self::leave) the reader's own thread is not woken.
    pub(crate) fn attend(&self, shared: &Arc<Shared>) {
        if !self.line.is_plain() {
            return;
        }
        let Ok(mut ears) = self.ears.try_lock() else { return };
        let Ears { up: Up::Fast(up), deaf: false, .. } = &mut *ears else { return };
        up.silence();
        if up.has_some() {
            self.reader(shared, &mut ears).listen_to_ring();
        }
    }

    /// What is known of where the worker runs; nothing, if somebody hears it just now.
    pub(crate) fn places<T>(&self, f: impl FnOnce(&Places) -> T) -> Option<T> {
        match &self.ears.try_lock().ok()?.up {
            Up::Fast(up) => Some(f(up.places())),
            Up::Plain(_) => None,
        }
    }

    /// From now on the reader's thread is woken again.
    pub(crate) fn leave(&self) {
        // Who hears it just now sets the bell itself when it is done.
        let Ok(mut ears) = self.ears.try_lock() else { return };
        let Up::Fast(up) = &mut ears.up else { return };
        if !up.set_bell(EAGER).unwrap_or(false) {
            // More has come, and may go on coming for ever.
            up.bed().wake();
        }
    }

    /// The descriptor by which a worker is heard that no thread listens to: it can be read when there is a [part](Self::hear_part).
    /// `None` if nothing more will come.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        match &*self.ears() {
            Ears { up: Up::Plain(up), deaf: false, .. } => Some(up.fd()),
            _ => None,
        }
    }

    /// Hears a part of a message, which is there, or that there will be no other.
    pub(crate) fn hear_part(&self, shared: &Arc<Shared>) {
        let mut ears = self.ears();
        if let Up::Plain(up) = &ears.up
            && let Some(received) = up.receive_part()
        {
            ears.deaf = !self.reader(shared, &mut ears).take(received);
        }
    }

    /// The worker is dead: hears what is left, whoever hears it otherwise, and settles it.
    pub(crate) fn bury(self: &Arc<Self>, shared: &Arc<Shared>, exit: &Exit) {
        self.reader(shared, &mut self.ears()).listen_to_channel();
        self.finish(shared, exit);
    }

    /// The worker is dead, and everything it said has been heard.
    pub(super) fn finish(self: &Arc<Self>, shared: &Arc<Shared>, exit: &Exit) {
        let vital = &self.line.vital;
        shared.hear_no_more(self);
        vital.listen_no_more();
        let mut ears = self.ears();
        let told = ears.ended_as_told(exit);
        self.reader(shared, &mut ears).settle(exit);
        drop(ears);
        // What one that ended in good order has left behind, its tasks meant to.
        if !told {
            // Looking through all processes takes a while.
            wake_held();
            vital.hunt();
        }
    }

    pub(super) fn reader<'a>(&'a self, shared: &'a Arc<Shared>, ears: &'a mut Ears) -> Reader<'a> {
        Reader { shared, line: &self.line, ears }
    }

    pub(super) fn ears(&self) -> MutexGuard<'_, Ears> {
        // Nothing panics while it holds this lock.
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ears {
    pub(super) fn ended_as_told(&self, exit: &Exit) -> bool {
        self.task.is_none() && exit.status.is_some_and(|status| status.success())
    }
}
