//! Takes the lease of a pipeline, keeps it, gives it back.

use crate::cli::args::OnLock;
use crate::exit_code;
use crate::failure::Failure;
use crate::open::Ends;
use crate::stop::Stop;
use std::time::{Duration, Instant};
use syncset_connector::{ErrorClass, Lease, LeaseOutcome, LeaseRequest, PipelineKey, StateStore};

/// Pause between two attempts while another run holds the lease.
const WAIT_PAUSE: Duration = Duration::from_millis(500);

/// What came of asking for the lease.
pub(crate) enum Asked {
    /// It is ours; a sentence says from whom it was taken, if it was.
    Ours(Lease, Option<String>),
    /// Another run has it and `--on-lock skip` was given.
    Skipped(String),
}

/// Asks for the lease of a pipeline as the policy says.
pub(crate) async fn acquire(
    ends: &Ends,
    owner: &str,
    duration: Duration,
    policy: OnLock,
    stop: &Stop,
) -> Result<Asked, Failure> {
    let request = LeaseRequest {
        key: ends.key.clone(),
        owner: owner.to_owned(),
        duration,
    };
    ask(ends.state(), &request, policy, stop).await
}

/// Takes a lease for a verb that is done at once, or fails.
pub(crate) async fn acquire_now(
    state: &dyn StateStore,
    key: &PipelineKey,
    owner: &str,
    duration: Duration,
) -> Result<Lease, Failure> {
    let request = LeaseRequest {
        key: key.clone(),
        owner: owner.to_owned(),
        duration,
    };
    match ask(state, &request, OnLock::Fail, &Stop::new(None)).await? {
        Asked::Ours(lease, _) => Ok(lease),
        Asked::Skipped(_) => unreachable!("only `skip` skips"),
    }
}

async fn ask(
    state: &dyn StateStore,
    request: &LeaseRequest,
    policy: OnLock,
    stop: &Stop,
) -> Result<Asked, Failure> {
    let started = Instant::now();
    loop {
        let (holder, expires_in) = match state.acquire(request).await? {
            LeaseOutcome::Acquired { lease, taken_from } => {
                let taken = taken_from.map(|owner| format!("took the lease over from {owner}"));
                return Ok(Asked::Ours(lease, taken));
            }
            LeaseOutcome::Held { owner, expires_in } => (owner, expires_in),
        };
        match policy {
            OnLock::Skip => return Ok(Asked::Skipped(holder)),
            OnLock::Wait(longest) if started.elapsed() < longest => {}
            OnLock::Wait(_) | OnLock::Fail => {
                let expiry = humantime::format_duration(Duration::from_secs(expires_in.as_secs()));
                let message = format!("pipeline `{}` is being run by {holder}", request.key);
                return Err(Failure::new(exit_code::LOCKED, message).with_hint(format!(
                    "its lease lasts {expiry} unless it is renewed; wait with `--on-lock wait=5m`, or end it with `pipeline unlock`"
                )));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(WAIT_PAUSE) => {}
            reason = stop.requested() => return Err(reason),
        }
    }
}

/// Renews the lease until it is dropped; asks the run to stop when the lease is lost.
pub(crate) struct Heartbeat(tokio::task::JoinHandle<()>);

impl Heartbeat {
    /// Starts to renew.
    pub(crate) fn start(ends: Ends, lease: Lease, stop: Stop) -> Self {
        Self(tokio::spawn(async move {
            let pause = lease.duration / 3;
            let mut renewed = Instant::now();
            loop {
                tokio::time::sleep(pause).await;
                match ends.state().renew(&lease).await {
                    Ok(()) => renewed = Instant::now(),
                    Err(error) if error.class == ErrorClass::Fenced => {
                        return stop.request(error.into());
                    }
                    // Units prove the epoch themselves, so a missed renewal loses nothing.
                    Err(error) if renewed.elapsed() < lease.duration => {
                        tracing::warn!(%error, "could not renew the lease");
                    }
                    Err(error) => {
                        let failure = Failure::from(error).while_doing("the lease ran out");
                        return stop.request(failure);
                    }
                }
            }
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}
