/* Preloaded, it tells MKL that the processor is not Intel's: the kernels are then those that an AMD would get. */
int mkl_serv_intel_cpu_true(void) { return 0; }
