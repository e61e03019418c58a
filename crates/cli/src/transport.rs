//! The two transports of the demo: a ring and a pipe.

use std::io::{PipeReader, PipeWriter};

use shmpipe::{Consumer, Producer};

use crate::figures::Calls;

/// What differs between the two transports.
pub(crate) trait Transport {
    fn calls(&self) -> Calls;
    /// Ends the stream. A producer breaks the stream off unless it is whole.
    fn end(self, is_whole: bool);
}

impl Transport for Producer {
    fn calls(&self) -> Calls {
        self.stats().into()
    }

    fn end(mut self, is_whole: bool) {
        if !is_whole {
            self.abort();
        }
    }
}

impl Transport for Consumer {
    fn calls(&self) -> Calls {
        self.stats().into()
    }

    fn end(self, _is_whole: bool) {}
}

impl Transport for PipeWriter {
    fn calls(&self) -> Calls {
        Calls::default()
    }

    fn end(self, _is_whole: bool) {}
}

impl Transport for PipeReader {
    fn calls(&self) -> Calls {
        Calls::default()
    }

    fn end(self, _is_whole: bool) {}
}
