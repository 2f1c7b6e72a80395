/* A rank of an MPI job that reduces for ever; rank 1 fails after a while, as its argument says. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    const char *how = argc > 1 ? argv[1] : "none";
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    double one = 1, sum;
    for (long call = 0;; call++) {
        if (call == 100 && rank == 0) {
            printf("works\n");
            fflush(stdout);
        }
        if (call == 100 && rank == 1) {
            if (!strcmp(how, "kill"))
                raise(SIGKILL);
            if (!strcmp(how, "segv"))
                raise(SIGSEGV);
            if (!strcmp(how, "exit"))
                exit(7);
            if (!strcmp(how, "_exit"))
                _exit(7);
            if (!strcmp(how, "return"))
                return 0;
        }
        MPI_Allreduce(&one, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    }
}
