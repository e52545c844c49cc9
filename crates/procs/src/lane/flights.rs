//! The jobs that a worker has, and how many of their items wait: known without counting them.

use std::{collections::VecDeque, time::Duration};

/// A job that was sent to a worker.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) token: u64,
    pub(crate) first_id: u64,
    len: u32,
    /// The first item that has not started.
    next: u32,
    /// It has left: it can be recalled.
    pub(crate) sent: bool,
    /// It is to be recalled once it has left.
    pub(crate) recall: bool,
    /// Items that are to be stopped, should they start nevertheless, and the grace of each.
    pub(crate) stops: Vec<(u32, Duration)>,
}

impl Flight {
    pub(crate) fn new(token: u64, first_id: u64, len: u32) -> Self {
        Self { token, first_id, len, next: 0, sent: false, recall: false, stops: Vec::new() }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.len.saturating_sub(self.next)
    }

    /// Whether this is the task of one of its items; which.
    pub(crate) fn item(&self, id: u64) -> Option<u32> {
        let item = id.checked_sub(self.first_id)?;
        (item < u64::from(self.len)).then_some(item as u32)
    }

    /// What of it can be recalled now. If it has not left, it is marked.
    pub(crate) fn recall(&mut self) -> Option<(u64, u32)> {
        if self.waiting() == 0 {
            return None;
        }
        self.recall |= !self.sent;
        self.sent.then_some((self.token, self.next))
    }
}

/// In order of their tokens, which only grow.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flights: VecDeque<Flight>,
    waiting: u32,
}

impl Flights {
    pub(crate) fn push(&mut self, flight: Flight) {
        self.waiting += flight.waiting();
        self.flights.push_back(flight);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Items that have not begun.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    pub(crate) fn get(&self, token: u64) -> Option<&Flight> {
        self.flights.get(self.place(token)?)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        self.flights.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flight> {
        self.flights.iter_mut()
    }

    /// Those from a token on.
    pub(crate) fn from(&mut self, token: u64) -> impl Iterator<Item = &mut Flight> {
        let start = self.flights.partition_point(|flight| flight.token < token);
        self.flights.range_mut(start..)
    }

    /// An item begins, if it can: those before it never will.
    pub(crate) fn begin(&mut self, token: u64, item: u32) -> Option<&Flight> {
        let place = self.place(token)?;
        let flight = &mut self.flights[place];
        if !(flight.next..flight.len).contains(&item) {
            return None;
        }
        self.waiting -= item + 1 - flight.next;
        flight.next = item + 1;
        Some(flight)
    }

    /// The items from this one on have come back, but for those that had begun.
    pub(crate) fn shorten(&mut self, token: u64, from: u32) {
        let Some(place) = self.place(token) else { return };
        let flight = &mut self.flights[place];
        let before = flight.waiting();
        flight.len = flight.len.min(from.max(flight.next));
        self.waiting -= before - flight.waiting();
    }

    /// A job has ended. Whether there was one.
    pub(crate) fn remove(&mut self, token: u64) -> bool {
        let flight = self.place(token).and_then(|place| self.flights.remove(place));
        self.waiting -= flight.as_ref().map_or(0, Flight::waiting);
        flight.is_some()
    }

    fn place(&self, token: u64) -> Option<usize> {
        self.flights.binary_search_by_key(&token, |flight| flight.token).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(flights: &Flights) -> u32 {
        flights.iter().map(Flight::waiting).sum()
    }

    #[test]
    fn what_waits_is_known_whatever_happens() {
        let mut state = 5_u64;
        let mut below = move |bound: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32 % bound
        };
        let mut flights = Flights::default();
        for token in 0..20_000 {
            flights.push(Flight::new(token, 1, 1 + below(4)));
            for _ in 0..3 {
                let any = token.saturating_sub(below(6).into());
                match below(3) {
                    0 => drop(flights.begin(any, below(5)).map(Flight::len)),
                    1 => flights.shorten(any, below(5)),
                    _ => drop(flights.remove(any)),
                }
                assert_eq!(flights.waiting(), counted(&flights));
            }
            while flights.iter().count() > 8 {
                let first = flights.iter().next().map(|flight| flight.token).unwrap();
                assert!(flights.remove(first) && flights.get(first).is_none());
            }
        }
    }
}
