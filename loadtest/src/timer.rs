//! Timer of some tens of microseconds precision. Tokio's own has a millisecond, which is many
//! intervals of a fast open loop.

#[cfg(target_os = "linux")]
pub(crate) use precise::Timer;

#[cfg(not(target_os = "linux"))]
pub(crate) use coarse::Timer;

#[cfg(target_os = "linux")]
mod precise {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::time::Instant;
    use tokio::io::AsyncReadExt;
    use tokio::net::unix::pipe::Receiver;

    /// Kernel timer, waited for together with the sockets. Like a pipe it is a descriptor to read
    /// from: eight bytes at each expiry.
    pub(crate) struct Timer(Receiver);

    impl Timer {
        pub(crate) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Self(Receiver::from_owned_fd_unchecked(timer)?))
        }

        /// Waits until a time; returns at once when it is past.
        pub(crate) async fn wait_until(&mut self, at: Instant) -> io::Result<()> {
            loop {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                let setting = Itimerspec {
                    it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                    it_value: left.try_into().map_err(io::Error::other)?,
                };
                timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &setting)?;
                // A buffer larger than the data tells tokio that nothing is left to read.
                let _eight = self.0.read(&mut [0; 16]).await?;
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod coarse {
    use std::io;
    use std::time::Instant;

    /// Timer of tokio.
    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits until a time; returns at once when it is past.
        pub(crate) async fn wait_until(&mut self, at: Instant) -> io::Result<()> {
            tokio::time::sleep_until(at.into()).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn it_waits_each_time_and_never_too_short() {
        let mut timer = Timer::new().unwrap();
        let start = Instant::now();
        for step in [300, 700, 700, 100, 5_000] {
            let at = start + Duration::from_micros(step);
            timer.wait_until(at).await.unwrap();
            assert!(Instant::now() >= at);
        }
    }
}
