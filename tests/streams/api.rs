//! Whether each documented sentence about the handles holds.

mod amounts;
mod ends;
mod limits;
mod roles;
mod traits;

use std::fmt::Debug;
use std::io::{self, ErrorKind};

use shmpipe::{Broken, Consumer, Producer, Ring};

use crate::common::options;

const CAPACITY: usize = 4096;

fn anonymous() -> Ring {
    options().capacity(CAPACITY).create_anonymous().unwrap()
}

fn split() -> (Producer, Consumer) {
    anonymous().split().unwrap()
}

/// The [`Broken`] inside an error, which must have `kind`.
#[track_caller]
fn broken<T: Debug>(result: io::Result<T>, kind: ErrorKind) -> Broken {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let inside = error.get_ref().expect("an error of ours");
    inside.downcast_ref::<Broken>().unwrap().clone()
}
