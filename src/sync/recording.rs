//! Atomics that record each access, for the unit tests of the ring.
//!
//! Layout and orderings are those of `core`.

use std::cell::RefCell;

use core::sync::atomic::{self, Ordering};

/// One access to the word at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Load(usize),
    Store(usize),
    /// A swap or a compare-and-swap, successful or not.
    Swap(usize),
}

thread_local! {
    static LOG: RefCell<Option<Vec<Access>>> = const { RefCell::new(None) };
}

/// The accesses of this thread since the last call. The first call starts the recording and returns
/// none.
pub(crate) fn take() -> Vec<Access> {
    LOG.with_borrow_mut(|log| log.replace(Vec::new()).unwrap_or_default())
}

fn record(access: Access) {
    LOG.with_borrow_mut(|log| {
        if let Some(log) = log {
            log.push(access);
        }
    });
}

macro_rules! recording {
    ($($name:ident: $value:ty;)*) => {$(
        #[repr(transparent)]
        #[derive(Debug, Default)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            fn address(&self) -> usize {
                std::ptr::from_ref(self).addr()
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                record(Access::Load(self.address()));
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                record(Access::Store(self.address()));
                self.0.store(value, order);
            }

            #[allow(dead_code)] // used by one of the two widths
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                record(Access::Swap(self.address()));
                self.0.swap(value, order)
            }

            #[allow(dead_code)] // used by one of the two widths
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                record(Access::Swap(self.address()));
                self.0.compare_exchange(current, new, success, failure)
            }

        }

        /// Gives the plain atomic, for system calls. Accesses through it are not recorded.
        impl std::ops::Deref for $name {
            type Target = atomic::$name;

            fn deref(&self) -> &atomic::$name {
                &self.0
            }
        }
    )*};
}

recording! {
    AtomicU32: u32;
    AtomicU64: u64;
}
