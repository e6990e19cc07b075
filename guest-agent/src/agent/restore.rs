//! What a clone must get anew before its workload runs: the time, and random numbers of its own.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

/// `RNDADDENTROPY` and `RNDRESEEDCRNG` of <linux/random.h>.
const ADD_ENTROPY: libc::c_ulong = 0x4008_5203;
const RESEED: libc::c_ulong = 0x5207;

const ENTROPY_BYTES: usize = 64;

/// `rand_pool_info`.
#[repr(C)]
struct Pool {
    entropy_bits: libc::c_int,
    bytes: libc::c_int,
    data: [u8; ENTROPY_BYTES],
}

/// The kernel's generator, opened once in the template.
pub(super) struct Random(OwnedFd);

impl Random {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(std::fs::File::open("/dev/urandom")?.into()))
    }

    /// Mixes the host's bytes in, and makes every generator of the kernel start again from them.
    #[allow(unsafe_code, reason = "no safe call reseeds the kernel's generator")]
    pub(super) fn reseed(&self, data: [u8; ENTROPY_BYTES]) -> io::Result<()> {
        let bytes = i32::try_from(ENTROPY_BYTES).unwrap_or(0);
        let pool = Pool { entropy_bits: bytes * 8, bytes, data };
        let device = self.0.as_raw_fd();
        // SAFETY: the kernel reads `bytes` bytes after the two integers: they are there.
        let mixed = unsafe { libc::ioctl(device, ADD_ENTROPY, &raw const pool) };
        // SAFETY: it takes no argument.
        let reseeded = unsafe { libc::ioctl(device, RESEED) };
        if mixed < 0 || reseeded < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Sets the clock.
pub(super) fn set_clock(since_1970: Duration) -> io::Result<()> {
    let tv_sec = i64::try_from(since_1970.as_secs()).map_err(io::Error::other)?;
    clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec: since_1970.subsec_nanos().into() })?;
    Ok(())
}

/// Since the guest's boot, without the time in which it was saved.
pub(super) fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
