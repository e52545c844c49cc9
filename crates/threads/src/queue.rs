//! What is to be done: jobs in order of arrival, and jobs under way that more hands can help with.
//!
//! Lives under the pool's lock. Of a job only its plain readers are called here, and nothing is
//! dropped: whatever leaves is handed out, to be run or dropped after the lock has been let go.

use std::collections::VecDeque;

use taskloom_core::{Job, Ticket};

/// The queue of a pool.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    jobs: VecDeque<Job>,
    /// Jobs of several items that are being run, oldest first. One leaves when any thread has been
    /// through all its items: from then on each is in somebody's hands, or over.
    shared: Vec<(u64, Ticket)>,
    /// Numbers jobs in the order in which they are taken.
    taken: u64,
}

/// What a thread is to do next.
#[derive(Debug)]
pub(crate) enum Work {
    /// All of a job.
    Job(Job),
    /// What is left of one that another thread runs.
    Help(Ticket),
}

/// What a thread is doing, for those who must stop it.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    /// Number of the job; threads that help have the same.
    pub(crate) number: u64,
    pub(crate) ticket: Ticket,
}

impl Queue {
    /// Puts a job down.
    pub(crate) fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Whether jobs are left that nobody has begun.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether anything is left to take.
    pub(crate) fn has_work(&self) -> bool {
        !self.jobs.is_empty() || self.shared.iter().any(|(_, ticket)| ticket.unclaimed() > 0)
    }

    /// The next thing to do: jobs first, in order; then a share of the oldest that needs hands.
    pub(crate) fn take(&mut self) -> Option<(Work, Errand)> {
        let Some(job) = self.jobs.pop_front() else { return self.take_share() };
        self.taken += 1;
        let errand = Errand { number: self.taken, ticket: job.ticket() };
        if job.len() > 1 {
            self.shared.push((errand.number, errand.ticket.clone()));
        }
        Some((Work::Job(job), errand))
    }

    fn take_share(&mut self) -> Option<(Work, Errand)> {
        let (number, ticket) = self.shared.iter().find(|(_, ticket)| ticket.unclaimed() > 0)?;
        let errand = Errand { number: *number, ticket: ticket.clone() };
        Some((Work::Help(ticket.clone()), errand))
    }

    /// A thread has been through the items of job `number`: nobody else need look at them.
    pub(crate) fn unshare(&mut self, number: u64) -> Option<Ticket> {
        let at = self.shared.iter().position(|(shared, _)| *shared == number)?;
        Some(self.shared.remove(at).1)
    }

    /// Takes all jobs away.
    pub(crate) fn take_all(&mut self) -> VecDeque<Job> {
        std::mem::take(&mut self.jobs)
    }
}
