//! The collection interface of a set: length, keys, lookup, and the traits of collections.

use std::fmt;
use std::ops::{Index, IndexMut};

use super::WaitSet;
use super::member::AsEnd;

impl<H> WaitSet<H> {
    /// The number of handles.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(shmpipe::WaitSet::from(consumer).len(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len() - self.free.len()
    }

    /// Whether there is no handle.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(shmpipe::WaitSet::<shmpipe::Consumer>::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of all handles, in ascending order.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// let set = shmpipe::WaitSet::from(consumer);
    /// assert!(set.keys().eq([0]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn keys(&self) -> impl Iterator<Item = usize> + '_ {
        let numbered = self.members.iter().enumerate();
        numbered.filter_map(|(key, member)| member.as_ref().map(|_| key))
    }

    /// Returns a handle, or `None` if no handle has this key.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// let set = shmpipe::WaitSet::from(consumer);
    /// assert_eq!(set.get(0).unwrap().position(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn get(&self, key: usize) -> Option<&H> {
        Some(&self.members.get(key)?.as_ref()?.handle)
    }
}

#[cold]
pub(super) fn no_handle(key: usize) -> ! {
    panic!("no handle of the set has the key {key}")
}

/// Returns the handle with a key that [`WaitSet::insert`] returned.
impl<H> Index<usize> for WaitSet<H> {
    type Output = H;

    /// # Panics
    ///
    /// If no handle has this key.
    fn index(&self, key: usize) -> &H {
        self.get(key).unwrap_or_else(|| no_handle(key))
    }
}

impl<H: AsEnd> IndexMut<usize> for WaitSet<H> {
    /// # Panics
    ///
    /// If no handle has this key.
    fn index_mut(&mut self, key: usize) -> &mut H {
        self.get_mut(key).unwrap_or_else(|| no_handle(key))
    }
}

impl<H: AsEnd> Default for WaitSet<H> {
    fn default() -> WaitSet<H> {
        WaitSet::new()
    }
}

/// A set of one handle, whose key is 0.
impl<H: AsEnd> From<H> for WaitSet<H> {
    fn from(handle: H) -> WaitSet<H> {
        WaitSet::from_iter([handle])
    }
}

/// The key of a handle is its index in the iterator.
impl<H: AsEnd> FromIterator<H> for WaitSet<H> {
    fn from_iter<I: IntoIterator<Item = H>>(handles: I) -> WaitSet<H> {
        let mut set = WaitSet::new();
        set.extend(handles);
        set
    }
}

impl<H: AsEnd> Extend<H> for WaitSet<H> {
    fn extend<I: IntoIterator<Item = H>>(&mut self, handles: I) {
        for handle in handles {
            self.insert(handle);
        }
    }
}

impl<H> fmt::Debug for WaitSet<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSet")
            .field("len", &self.len())
            .field("wait_policy", &self.wait_policy())
            .finish_non_exhaustive()
    }
}
