//! A query's rows as a stream of batches.

use crate::connect::Session;
use crate::decode::Decoder;
use futures::{StreamExt, TryStreamExt};
use syncset_connector::{BatchStream, Column, Result};

/// Runs a query and reads its rows by one binary COPY. `columns` describe the query's columns, in
/// order; `table` is for messages. The stream must be read to its end, or the session be dropped.
///
/// At most one batch is held: the server waits while nobody asks for the next one.
pub(crate) async fn read_copy<'a>(
    session: &'a mut Session,
    select_sql: &str,
    table: &str,
    columns: &[&Column],
    batch_bytes: usize,
) -> Result<BatchStream<'a>> {
    let decoder = Decoder::new(table, columns, batch_bytes)?;
    let sql = format!("COPY ({select_sql}) TO STDOUT (FORMAT binary)");
    let stream = session.copy_out(&sql).await?;
    let batches = futures::stream::try_unfold(Some((stream, decoder)), |state| async move {
        let Some((mut stream, mut decoder)) = state else {
            return Ok(None);
        };
        while let Some(bytes) = stream.next().await {
            if let Some(batch) = decoder.push(bytes?)? {
                return Ok(Some((batch, Some((stream, decoder)))));
            }
        }
        Ok(decoder.finish()?.map(|batch| (batch, None)))
    });
    Ok(batches.into_stream().boxed())
}
