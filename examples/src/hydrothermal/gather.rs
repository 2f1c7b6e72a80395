//! Work in numbered pieces: who does which, and how the results come together in order.

use std::ops::Range;

use cobre_shm::{CommData, CommError, Communicator, block_range};

/// The pieces, of `pieces`, that this rank works on. None, if there are more ranks than pieces.
pub fn my_block<C: Communicator>(comm: &C, pieces: usize) -> Range<usize> {
    block_range(pieces, comm.size(), comm.rank())
}

/// Puts together what the ranks made of their blocks, `width` elements per piece, in the order of
/// the pieces: on every rank the same, whatever the number of ranks. Collective.
///
/// # Errors
/// As for every collective.
pub fn gather<C: Communicator, T: CommData>(
    comm: &C,
    pieces: usize,
    width: usize,
    mine: &[T],
) -> Result<Vec<T>, CommError> {
    let blocks = (0..comm.size()).map(|rank| block_range(pieces, comm.size(), rank));
    let counts: Vec<usize> = blocks.clone().map(|block| block.len() * width).collect();
    let displs: Vec<usize> = blocks.map(|block| block.start * width).collect();
    let mut all = vec![T::zeroed(); pieces * width];
    comm.allgatherv(mine, &mut all, &counts, &displs)?;
    Ok(all)
}

/// Gives rank 0's text to everybody; the others' is not looked at. Collective.
///
/// # Errors
/// As for every collective.
pub fn share_text<C: Communicator>(comm: &C, text: &str) -> Result<String, CommError> {
    let mut length = [text.len() as u64];
    comm.broadcast(&mut length, 0)?;
    let mut bytes = vec![0; length[0] as usize];
    if comm.rank() == 0 {
        bytes.copy_from_slice(text.as_bytes());
    }
    comm.broadcast(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
