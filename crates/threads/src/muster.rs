//! How many threads work, how many should, and who comes when there is something to do.
//!
//! Plain numbers, changed under the pool's lock. The one rule that everything rests on: *while
//! there is work that nobody has taken, somebody is at work*, awake or called. Whatever takes a
//! thread away from work ([`leave`](Muster::leave)) is followed by a look whether there is
//! work, and a [`summon`](Muster::summon) if so; whoever puts work down summons too, and so does whoever takes work and
//! leaves some, for not everybody is called at once.

use crate::bench::Bench;

/// The numbers.
#[derive(Debug)]
pub(crate) struct Muster {
    /// How many are to work at a time.
    places: usize,
    /// Most idle threads that may be called at a time and not be up yet. Who gets up and finds more to do calls the next.
    most_called: usize,
    /// Threads that are being started.
    coming: usize,
    /// Most of those at a time, likewise.
    most_coming: usize,
    /// Threads that take work: busy, idle, called, or just being started.
    at_work: usize,
    /// Places of threads that are in tasks nobody waits for any more, and that may not be replaced.
    stuck: usize,
    /// Those of the threads at work who have nothing to do.
    pub(crate) idle: Bench,
    /// Threads beyond the places, kept for a while in case they are needed again.
    pub(crate) spare: Bench,
}

/// Who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An idle thread was called.
    Idle,
    /// A spare one was called, and is at work from now on.
    Spare,
    /// A thread has to be started; it counts as being at work from now on.
    Hire,
    /// All places are taken, or enough threads are on their way: whoever is ready first.
    Enough,
    /// There is nobody, and no place for anybody.
    Nobody,
}

impl Muster {
    /// Nobody yet.
    pub(crate) fn new(places: usize, most_called: usize, most_coming: usize) -> Self {
        Self {
            places,
            most_called,
            coming: 0,
            most_coming,
            at_work: 0,
            stuck: 0,
            idle: Bench::default(),
            spare: Bench::default(),
        }
    }

    /// There is something to do.
    pub(crate) fn summon(&mut self) -> Answer {
        if self.idle.called() >= self.most_called {
            Answer::Enough
        } else if self.idle.call() {
            Answer::Idle
        } else if self.is_short() && self.coming >= self.most_coming {
            Answer::Enough
        } else if self.is_short() {
            self.fill()
        } else if self.at_work == 0 {
            Answer::Nobody
        } else {
            Answer::Enough
        }
    }

    /// Gives a free place to somebody, who is at work from now on.
    pub(crate) fn fill(&mut self) -> Answer {
        self.at_work += 1;
        if self.spare.call() {
            return Answer::Spare;
        }
        self.coming += 1;
        Answer::Hire
    }

    /// A thread that was started is there; or it is not coming, and [leaves](Self::leave) too.
    pub(crate) fn arrive(&mut self) {
        self.coming -= 1;
    }

    /// How many are to work at a time.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// So many from now on. Idle threads that are too many are called, to see that they are.
    pub(crate) fn resize(&mut self, places: usize) {
        self.places = places;
        for _ in self.wanted().max(1)..self.at_work {
            self.idle.call();
        }
    }

    /// Whether somebody would come for work if one of those at work were gone.
    pub(crate) fn can_spare_one(&self) -> bool {
        self.at_work > 1 || self.wanted() > 0
    }

    /// Whether a place is free.
    pub(crate) fn is_short(&self) -> bool {
        self.at_work < self.wanted()
    }

    /// Whether one of those at work is too many. The last one never is: there may be work.
    pub(crate) fn has_surplus(&self) -> bool {
        self.at_work > self.wanted().max(1)
    }

    /// Threads that took a waiting one's place can be stuck too: there may be more of them than places.
    fn wanted(&self) -> usize {
        self.places.saturating_sub(self.stuck)
    }

    /// Whether nobody would come for work.
    pub(crate) fn is_deserted(&self) -> bool {
        self.at_work == 0
    }

    /// One more at work: it comes back, or is being started.
    pub(crate) fn join(&mut self) {
        self.at_work += 1;
    }

    /// One less: it waits for others, retires, ends, or could not be started.
    pub(crate) fn leave(&mut self) {
        self.at_work -= 1;
    }

    /// A place is held by a thread that is not coming back and may not be replaced.
    pub(crate) fn stick(&mut self) {
        self.stuck += 1;
    }

    /// That place is free again.
    pub(crate) fn unstick(&mut self) {
        self.stuck -= 1;
    }
}
