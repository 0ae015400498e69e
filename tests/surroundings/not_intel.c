/* Intel's library takes the path of other makers' processors if this says no: LD_PRELOAD it. */
int mkl_serv_intel_cpu_true(void) { return 0; }
