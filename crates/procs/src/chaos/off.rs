//! Nothing, at no cost.

use std::{process::Command, sync::Arc};

use super::Point;
use crate::{line::Vital, worker::Up};

#[inline(always)]
pub(crate) fn at(_: Point) {}

#[inline(always)]
pub(crate) fn on(_: Point, _: &Arc<Vital>) {}

#[inline(always)]
pub(crate) fn at_either(_: Point) {}

#[inline(always)]
pub(crate) fn brief(command: &mut Command, _worker: u32) -> &mut Command {
    command
}

#[inline(always)]
pub(crate) fn enlist(_up: &Arc<Up>) {}
