// The least an MPI program can do: joins and leaves. The twin of src/bin/joins.rs.
#include <mpi.h>

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Finalize();
  return 0;
}
