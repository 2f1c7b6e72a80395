//! Sending values of the case and rows of results between ranks.

use cobre_comm::{CommData, CommError, Communicator};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{During, Failure};

/// Every rank gets rank 0's value; rank 0 passes `Some`, the others `None`.
///
/// Length first, then the bytes: receivers must know how much to expect.
pub(crate) fn broadcast_value<C: Communicator, T: Serialize + DeserializeOwned>(
    comm: &C,
    value: Option<T>,
) -> Result<T, Failure> {
    const STEP: &str = "to broadcast the case";
    let mut bytes = match &value {
        Some(value) => postcard::to_allocvec(value).during(STEP)?,
        None => Vec::new(),
    };
    let mut len = [bytes.len() as u64];
    comm.broadcast(&mut len, 0).during(STEP)?;
    bytes.resize(usize::try_from(len[0]).during(STEP)?, 0);
    comm.broadcast(&mut bytes, 0).during(STEP)?;
    match value {
        Some(value) => Ok(value),
        None => postcard::from_bytes(&bytes).during(STEP),
    }
}

/// All ranks' rows, rank 0's first; ranks may have any number of them.
pub(crate) fn gather_rows<C: Communicator, T: CommData>(
    comm: &C,
    rows: &[T],
) -> Result<Vec<T>, CommError> {
    let ones = vec![1; comm.size()];
    let each: Vec<_> = (0..comm.size()).collect();
    let mut lens = vec![0_u64; comm.size()];
    comm.allgatherv(&[rows.len() as u64], &mut lens, &ones, &each)?;

    let counts: Vec<_> = lens.into_iter().map(|len| len as usize).collect();
    let mut total = 0;
    let displs: Vec<_> = counts
        .iter()
        .map(|count| {
            total += count;
            total - count
        })
        .collect();
    let mut all = vec![T::default(); total];
    comm.allgatherv(rows, &mut all, &counts, &displs)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobre_comm::LocalBackend;

    #[test]
    fn a_single_rank_keeps_its_own() {
        let value = (String::from("case"), vec![1.0, 2.0]);
        let back = broadcast_value(&LocalBackend, Some(value.clone())).unwrap();
        assert_eq!(back, value);
        assert_eq!(gather_rows(&LocalBackend, &[3, 4]).unwrap(), [3, 4]);
        assert!(
            gather_rows::<_, f64>(&LocalBackend, &[])
                .unwrap()
                .is_empty()
        );
    }
}
