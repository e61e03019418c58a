//! One grammar of waiting: the plain verb blocks within the handle's timeout,
//! `try_` never waits, `_deadline` waits until then. No test here asserts how
//! long something takes, but that it ends.

mod closing;
mod forms;
mod opening;
mod raw;
mod whole;
