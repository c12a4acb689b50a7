/* Preloaded: the monotonic clock runs faster by DRIFT_PPM from the first time it is read. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t which, struct timespec *shown) {
  static int (*real)(clockid_t, struct timespec *);
  static long long begun;
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(which, shown);
  if (failed || which != CLOCK_MONOTONIC) return failed;
  long long now = shown->tv_sec * 1000000000LL + shown->tv_nsec;
  if (!begun) begun = now;
  now += (long long)((now - begun) * atof(getenv("DRIFT_PPM")) * 1e-6);
  shown->tv_sec = now / 1000000000LL;
  shown->tv_nsec = now % 1000000000LL;
  return 0;
}
