//! Tables of rows in a slice.

use core::ops::{Index, Range};

use crate::block_range;

/// Bytes that move between processors together. Rows that begin on a line of their own can be written by
/// different ranks without taking it from each other.
const LINE: usize = 64;

/// The shape of a table in a slice: so many rows of so many columns, each row a stride after the one
/// before.
///
/// ```
/// use cobre_comm_trait::{LocalComm, Rows, SharedMemoryProvider, SharedRegion};
///
/// let shape = Rows::on_lines::<f64>(100, 3);
/// let mut tree = LocalComm::new().create_shared_region::<f64>(shape.len())?;
/// let part = tree.part();
/// for (number, row) in shape.rows_mut(part, tree.part_mut()) {
///     row.fill(number as f64);
/// }
/// let tree = tree.fence()?;
/// assert_eq!(shape.of(&tree)[42], [42.0; 3]);
/// # Ok::<(), cobre_comm_trait::CommError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    rows: usize,
    columns: usize,
    stride: usize,
}

impl Rows {
    /// Rows one behind the other.
    #[must_use]
    pub fn packed(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            stride: columns,
        }
    }

    /// Rows of elements `T` that begin on cache lines (64 bytes), if the table does. A window does.
    #[must_use]
    pub fn on_lines<T>(rows: usize, columns: usize) -> Self {
        // The fewest elements that fill whole lines.
        let size = size_of::<T>().max(1);
        let unit = LINE >> size.trailing_zeros().min(LINE.trailing_zeros());
        let stride = columns.checked_next_multiple_of(unit).unwrap_or(usize::MAX);
        Self {
            rows,
            columns,
            stride,
        }
    }

    /// Rows `stride` elements apart.
    ///
    /// # Panics
    /// If they overlap: if the stride is less than the columns.
    #[must_use]
    pub fn with_stride(rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            stride >= columns,
            "rows of {columns} columns overlap {stride} apart"
        );
        Self {
            rows,
            columns,
            stride,
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Elements from the beginning of a row to that of the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Elements of the whole table, those between rows and behind the last one included; `usize::MAX`, for
    /// which there is no memory, if there are more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.saturating_mul(self.stride)
    }

    /// Whether the table has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of `rank` of `size`: contiguous blocks of about the same number, as [`block_range`] has
    /// them.
    ///
    /// # Panics
    /// If `rank` is not below `size`.
    #[must_use]
    pub fn of_rank(&self, size: usize, rank: usize) -> Range<usize> {
        block_range(self.rows, size, rank)
    }

    /// The elements of each of `size` ranks, if each has the rows that [`of_rank`](Self::of_rank) says.
    #[must_use]
    pub fn parts(&self, size: usize) -> Vec<Range<usize>> {
        let element = |row: usize| row.saturating_mul(self.stride);
        let rows = (0..size).map(|rank| self.of_rank(size, rank));
        rows.map(|rows| element(rows.start)..element(rows.end))
            .collect()
    }

    /// The rows of the whole `table`.
    ///
    /// # Panics
    /// If some of them are missing.
    #[must_use]
    pub fn of<'a, T>(&self, table: &'a [T]) -> RowView<'a, T> {
        let len = self.len();
        assert!(
            table.len() >= len,
            "a table of {} elements has not {len}",
            table.len()
        );
        RowView {
            shape: *self,
            table,
        }
    }

    fn row<'a, T>(&self, table: &'a [T], row: usize) -> &'a [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &table[row * self.stride..][..self.columns]
    }

    /// The rows of a part of a table, each with its number, for writing: of elements `part`, which
    /// are `elements`.
    ///
    /// # Panics
    /// If the part begins or ends inside a row, or the elements are not as many.
    pub fn rows_mut<'a, T>(
        &self,
        part: Range<usize>,
        elements: &'a mut [T],
    ) -> impl Iterator<Item = (usize, &'a mut [T])> + use<'a, T> {
        let Self {
            columns, stride, ..
        } = *self;
        let stride = stride.max(1);
        assert!(
            part.start.is_multiple_of(stride) && elements.len().is_multiple_of(stride),
            "elements {part:?} are no whole rows of {stride}"
        );
        assert_eq!(part.len(), elements.len(), "the elements of the part");
        let first = part.start / stride;
        let rows = elements.chunks_mut(stride).enumerate();
        rows.map(move |(row, elements)| (first + row, &mut elements[..columns]))
    }
}

/// The rows of a table: `view[i]` is row `i`.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a, T> {
    shape: Rows,
    table: &'a [T],
}

impl<'a, T> RowView<'a, T> {
    /// All rows, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [T]> + use<'a, T> {
        let (shape, table) = (self.shape, self.table);
        (0..shape.rows).map(move |row| shape.row(table, row))
    }

    /// Row `row`.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [T] {
        self.shape.row(self.table, row)
    }
}

impl<T> Index<usize> for RowView<'_, T> {
    type Output = [T];

    fn index(&self, row: usize) -> &[T] {
        self.row(row)
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;
    use crate::check;

    #[test]
    fn rows_begin_on_lines_for_elements_of_any_size() {
        assert_eq!(Rows::on_lines::<f64>(9, 3).stride(), 8);
        assert_eq!(Rows::on_lines::<f64>(9, 8).stride(), 8);
        assert_eq!(Rows::on_lines::<f64>(9, 9).stride(), 16);
        assert_eq!(Rows::on_lines::<u8>(9, 65).stride(), 128);
        // 24 bytes: eight elements are three lines.
        assert_eq!(Rows::on_lines::<[f64; 3]>(9, 1).stride(), 8);
        assert_eq!(Rows::on_lines::<[u8; 29]>(9, 1).stride(), 64);
        assert_eq!(Rows::on_lines::<[u8; 128]>(9, 5).stride(), 5);
    }

    #[test]
    fn parts_are_whole_rows_and_cover_the_table() {
        for (rows, size) in [(10, 3), (2, 5), (0, 2), (7, 1)] {
            let shape = Rows::on_lines::<f32>(rows, 5);
            let parts = shape.parts(size);
            assert_eq!(check::parts(size, shape.len(), &parts), Ok(()));
            let mut table = vec![0.0_f32; shape.len()];
            for part in parts {
                for (row, columns) in shape.rows_mut(part.clone(), &mut table[part]) {
                    columns.fill(row as f32 + 1.0);
                }
            }
            let view = shape.of(&table);
            assert!((0..rows).all(|row| view[row] == [row as f32 + 1.0; 5]));
            assert_eq!(view.iter().count(), rows);
            // What lies between rows is nobody's.
            let written = table.iter().filter(|&&element| element != 0.0).count();
            assert_eq!(written, rows * 5);
        }
    }

    #[test]
    fn a_table_without_columns_or_too_large_to_count_is_no_trap() {
        let shape = Rows::packed(4, 0);
        assert!(shape.is_empty());
        assert_eq!(shape.of(&[0_u8; 0])[3], []);
        assert_eq!(shape.rows_mut(0..0, &mut [0_u8; 0]).count(), 0);
        let huge = Rows::on_lines::<f64>(usize::MAX, usize::MAX);
        assert_eq!(huge.len(), usize::MAX);
        assert_eq!(huge.parts(2).len(), 2);
    }

    #[test]
    #[should_panic(expected = "row 3 of 3")]
    fn a_row_that_is_not_there_is_refused() {
        let _ = &Rows::packed(3, 2).of(&[0; 6])[3];
    }

    #[test]
    #[should_panic(expected = "no whole rows")]
    fn a_part_that_begins_inside_a_row_is_refused() {
        let _ = Rows::packed(3, 2).rows_mut(1..3, &mut [0; 2]);
    }

    #[test]
    #[should_panic(expected = "overlap 2 apart")]
    fn rows_that_overlap_are_refused() {
        let _ = Rows::with_stride(3, 4, 2);
    }
}
