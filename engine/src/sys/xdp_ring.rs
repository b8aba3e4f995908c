//! One of the rings that an AF_XDP socket shares with the kernel (linux/if_xdp.h,
//! Documentation/networking/af_xdp.rst): entries that one side writes and the other reads, and a cursor of each side.
//!
//! Cursors count entries from the beginning and wrap at 2^32; an entry's place is its number modulo the size, which is
//! a power of two, and the difference of the cursors, wrapping, is how many entries wait. Each cursor is written by one
//! side only:
//!
//! - The producer stores its cursor with release, after the entries: whoever sees the cursor sees them. The consumer
//!   loads it with acquire, before it reads them.
//! - The consumer stores its cursor with release, after it has read the entries: only then may they be overwritten. The
//!   producer here never asks for it before it writes, because its owner never has more entries under way than the ring
//!   has places; it reads the cursor to know how far the kernel is, relaxed, because nothing is read on its strength.
//! - Whether the kernel wants to be woken is read after the producer's cursor was stored, with a full fence in between.
//!   The kernel raises the flag and then looks at the cursor once more, so one of the two sees the other's.

#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};

use super::mapping::Mapping;

/// What a ring carries.
///
/// # Safety
/// Any bytes of its size are a value of it.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: any eight bytes are a number.
unsafe impl Entry for u64 {}

/// `struct xdp_desc`: where in the UMEM a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) options: u32,
}

// SAFETY: three numbers without padding.
unsafe impl Entry for Descriptor {}

/// Memory with cursors and entries in it.
#[derive(Debug)]
pub(super) struct Ring<T> {
    memory: Arc<Mapping>,
    producer: usize,
    consumer: usize,
    flags: Option<usize>,
    entries: usize,
    mask: u32,
    _entry: PhantomData<T>,
}

impl<T: Entry> Ring<T> {
    /// A ring of `size` entries, a power of two, laid out as the kernel says.
    pub(super) fn new(memory: Arc<Mapping>, layout: &XdpRingOffset, size: u32) -> io::Result<Self> {
        let place = |offset: u64| usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        let ring = Ring {
            producer: place(layout.producer)?,
            consumer: place(layout.consumer)?,
            flags: layout.flags.map(place).transpose()?,
            entries: place(layout.desc)?,
            mask: size.wrapping_sub(1),
            memory,
            _entry: PhantomData,
        };
        let words = [Some(ring.producer), Some(ring.consumer), ring.flags].into_iter().flatten();
        let sound = size.is_power_of_two()
            && ring
                .memory
                .pointer(ring.entries, size as usize * size_of::<T>())
                .is_some_and(|p| p.cast::<T>().is_aligned())
            && words.map(|at| ring.memory.pointer(at, 4)).all(|p| p.is_some_and(|p| p.cast::<u32>().is_aligned()));
        if sound { Ok(ring) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// How much memory a ring of this layout takes.
    pub(super) fn bytes(layout: &XdpRingOffset, size: u32) -> usize {
        layout.desc as usize + size as usize * size_of::<T>()
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: `at` is one of the three places that `new` found inside the mapping.
        let word = unsafe { self.memory.start().add(at) };
        // SAFETY: `new` found it aligned; it lives as long as the mapping and is accessed atomically, by the kernel too.
        unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
    }

    #[inline]
    fn entry(&self, number: u32) -> NonNull<T> {
        let at = self.entries + (number & self.mask) as usize * size_of::<T>();
        // SAFETY: the masked number is less than the size, and `new` found all entries inside the mapping.
        unsafe { self.memory.start().add(at) }.cast()
    }
}

/// Our end of a ring that the kernel reads.
#[derive(Debug)]
pub(super) struct Producer<T> {
    ring: Ring<T>,
    next: u32,
}

impl<T: Entry> Producer<T> {
    pub(super) fn new(ring: Ring<T>) -> Self {
        let next = ring.word(ring.producer).load(Ordering::Relaxed);
        Producer { ring, next }
    }

    /// The number of the entry that is written next.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Writes an entry; [`Producer::publish`] hands it over. Never more under way than the ring has places: it is the
    /// owner who knows how many are.
    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        // SAFETY: `entry` gives a place inside the mapping, aligned for `T`; the kernel does not read it before the cursor
        // says so.
        unsafe { self.ring.entry(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
    }

    /// Hands over what was written.
    #[inline]
    pub(super) fn publish(&self) {
        self.ring.word(self.ring.producer).store(self.next, Ordering::Release);
    }

    /// The number of the entry that the kernel reads next, as far as it tells.
    #[inline]
    pub(super) fn read(&self) -> u32 {
        self.ring.word(self.ring.consumer).load(Ordering::Relaxed)
    }

    /// Whether the kernel has to be told of what was handed over.
    #[inline]
    pub(super) fn must_wake(&self) -> bool {
        let Some(flags) = self.ring.flags else { return true };
        fence(Ordering::SeqCst);
        self.ring.word(flags).load(Ordering::Relaxed) & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
    }
}

/// Our end of a ring that the kernel writes.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    next: u32,
    /// As far as the kernel has come, when we last looked.
    seen: u32,
}

impl<T: Entry> Consumer<T> {
    pub(super) fn new(ring: Ring<T>) -> Self {
        let next = ring.word(ring.consumer).load(Ordering::Relaxed);
        Consumer { ring, next, seen: next }
    }

    /// The next entry. Its place is the kernel's again after [`Consumer::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.next == self.seen {
            self.seen = self.ring.word(self.ring.producer).load(Ordering::Acquire);
        }
        if self.next == self.seen {
            return None;
        }
        // SAFETY: `entry` gives a place inside the mapping, aligned for `T`, whose bytes are a `T` whatever they are; the
        // kernel does not write to it before the cursor says so.
        let entry = unsafe { self.ring.entry(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Gives back the places of what was taken.
    #[inline]
    pub(super) fn release(&self) {
        self.ring.word(self.ring.consumer).store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: XdpRingOffset = XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };
    const SIZE: u32 = 8;

    /// Both ends of one ring on plain memory, whose cursors begin at `start`.
    fn both<T: Entry>(start: u32) -> (Producer<T>, Consumer<T>) {
        let memory = Arc::new(Mapping::anonymous(Ring::<T>::bytes(&LAYOUT, SIZE)).unwrap());
        let ring = || Ring::new(Arc::clone(&memory), &LAYOUT, SIZE).unwrap();
        ring().word(0).store(start, Ordering::Relaxed);
        ring().word(64).store(start, Ordering::Relaxed);
        (Producer::new(ring()), Consumer::new(ring()))
    }

    #[test]
    fn entries_go_through_in_order_also_where_the_cursors_wrap() {
        for start in [0, 5, u32::MAX - 3, u32::MAX] {
            let (mut producer, mut consumer) = both::<u64>(start);
            let mut expected = 0;
            for sent in 0..1000 {
                producer.push(sent);
                if sent % 3 == 0 {
                    producer.publish();
                    while let Some(entry) = consumer.pop() {
                        assert_eq!(entry, expected);
                        expected += 1;
                    }
                    consumer.release();
                    assert_eq!(producer.read(), producer.next());
                }
            }
            assert_eq!(expected, 1000);
        }
    }

    #[test]
    fn nothing_is_seen_before_it_is_published_nor_read_before_it_is_released() {
        let (mut producer, mut consumer) = both::<Descriptor>(u32::MAX);
        let entry = Descriptor { address: 1 << 40, len: 60, options: 7 };
        producer.push(entry);
        assert_eq!(consumer.pop(), None);
        producer.publish();
        assert_eq!(consumer.pop(), Some(entry));
        assert_eq!(producer.next().wrapping_sub(producer.read()), 1);
        consumer.release();
        assert_eq!(producer.next().wrapping_sub(producer.read()), 0);
    }

    #[test]
    fn a_full_ring_holds_as_many_as_it_has_places() {
        let (mut producer, mut consumer) = both::<u64>(u32::MAX - 2);
        (0..u64::from(SIZE)).for_each(|entry| producer.push(entry));
        producer.publish();
        assert_eq!(producer.next().wrapping_sub(producer.read()), SIZE);
        assert!((0..u64::from(SIZE)).all(|entry| consumer.pop() == Some(entry)));
        assert_eq!(consumer.pop(), None);
    }

    #[test]
    fn the_kernels_wish_to_be_woken() {
        let (producer, _) = both::<u64>(0);
        assert!(!producer.must_wake());
        producer.ring.word(128).store(1, Ordering::Relaxed);
        assert!(producer.must_wake());
        let memory = Arc::new(Mapping::anonymous(4096).unwrap());
        let silent = XdpRingOffset { flags: None, ..LAYOUT };
        assert!(Producer::new(Ring::<u64>::new(memory, &silent, SIZE).unwrap()).must_wake(), "an old kernel always");
    }

    #[test]
    fn a_layout_that_does_not_fit_is_refused() {
        let ring = |layout, size| {
            let memory = Arc::new(Mapping::anonymous(4096).unwrap());
            Ring::<u64>::new(memory, &layout, size).map(drop).map_err(|error| error.kind())
        };
        assert_eq!(ring(LAYOUT, 256), Ok(()));
        for (layout, size) in [
            (LAYOUT, 512),
            (LAYOUT, 100),
            (LAYOUT, 0),
            (XdpRingOffset { desc: 193, ..LAYOUT }, 8),
            (XdpRingOffset { producer: 2, ..LAYOUT }, 8),
            (XdpRingOffset { consumer: 4096, ..LAYOUT }, 8),
            (XdpRingOffset { flags: Some(u64::MAX), ..LAYOUT }, 8),
        ] {
            assert_eq!(ring(layout, size), Err(io::ErrorKind::InvalidData), "{layout:?} {size}");
        }
    }
}
