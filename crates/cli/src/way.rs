//! The ways that the demo's stream goes: a ring and a pipe.

use std::io::{PipeReader, PipeWriter};

use shmpipe::{Consumer, Producer};

use crate::figures::Calls;

/// What the ways that a stream can go differ in.
pub(crate) trait Way {
    fn calls(&self) -> Calls;
    /// Leaves; a producer, in a way that shows whether the stream is whole.
    fn end(self, is_whole: bool);
}

impl Way for Producer {
    fn calls(&self) -> Calls {
        self.stats().into()
    }

    fn end(mut self, is_whole: bool) {
        if !is_whole {
            self.abort();
        }
    }
}

impl Way for Consumer {
    fn calls(&self) -> Calls {
        self.stats().into()
    }

    fn end(self, _is_whole: bool) {}
}

impl Way for PipeWriter {
    fn calls(&self) -> Calls {
        Calls::default()
    }

    fn end(self, _is_whole: bool) {}
}

impl Way for PipeReader {
    fn calls(&self) -> Calls {
        Calls::default()
    }

    fn end(self, _is_whole: bool) {}
}
