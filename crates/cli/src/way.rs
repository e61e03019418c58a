//! The two ways of the demo's stream: a ring and a pipe.

use std::io::{PipeReader, PipeWriter};

use shmpipe::{Consumer, Producer};

use crate::figures::Calls;

/// What differs between the two ways.
pub(crate) trait Way {
    fn calls(&self) -> Calls;
    /// Ends the stream. A producer shows whether the stream is whole.
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
