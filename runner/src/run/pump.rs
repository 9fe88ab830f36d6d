//! Reads ahead while writing, within bounds.

use crate::failure::Failure;
use crate::stop::Stop;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::BoxStream;
use std::pin::pin;
use syncset_connector::Result;
use tokio::sync::mpsc;

/// Items between the reader and the writer: one being written, one ready.
pub(crate) const AHEAD: usize = 2;

/// Feeds a stream to `consume` through a short queue, so that reading and writing overlap.
///
/// Ends early when the consumer fails or the run is asked to stop. Then that is why it ended: a
/// call of a plugin that was ended for it fails, too.
pub(crate) async fn pump<T, R>(
    mut stream: BoxStream<'_, Result<T>>,
    stop: &Stop,
    consume: impl AsyncFnOnce(mpsc::Receiver<Result<T>>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let produce = async move {
        while let Some(item) = stream.next().await {
            if sender.send(item).await.is_err() {
                break;
            }
        }
    };
    let work = async {
        let (produce, consume) = (pin!(produce), pin!(consume(receiver)));
        match select(consume, produce).await {
            Either::Left((result, _)) => result,
            Either::Right(((), consume)) => consume.await,
        }
    };
    tokio::select! {
        result = work => result.map_err(|failure| stop.instead_of(failure)),
        reason = stop.requested() => Err(reason),
    }
}
