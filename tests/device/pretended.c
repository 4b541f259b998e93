/* A CUDA device that accepts every request, counts it, and computes nothing.

   Preloaded in place of the CUDA runtime, the driver and cuBLAS, so that torch's own CUDA code runs
   on a machine without a GPU: the dispatcher, autocast, the choice of kernels, the allocator. What
   it stands for is read from the environment; see pretended.py, which builds it together with a
   file of answers to whatever else torch links to.

   Device memory is address space without pages behind it. Since no kernel ever runs, a copy to the
   device writes nothing, and a copy from it reads as the pattern that was asked for; one of more
   than LARGE bytes reads as zeros, which take no pages either. */
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CARDS 8
#define API cudaError_t
#define DONE return cudaSuccess

struct pretended {
  unsigned long launches, products, waits, to_device, to_host, within, allocations;
  unsigned long held[CARDS];
  unsigned long fail_at; /* this allocation fails, counted from 1; 0: none does */
  unsigned long reads;   /* copies to the host read as 0: zeros, 1: ones, 2: infinities */
  unsigned long again;   /* so many allocations after that another fails, once; 0: none */
  unsigned long fail_product; /* this product of cuBLAS fails for want of memory; 0: none does */
  unsigned long slow;    /* no event is over before the host waits for it */
  unsigned long replays; /* of graphs; what is in one counts each time, not when it is recorded */
};
struct pretended pretended;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define COUNT(field) __atomic_fetch_add(&pretended.field, 1, __ATOMIC_RELAXED)

/* ---- a log of who does what in which stream; see ordering.py */
static FILE *written;
#define LOG(...) do { if (written) fprintf(written, __VA_ARGS__); } while (0)
void pretended_log(const char *path) { /* from now on, or with NULL no more */
  if (written) fclose(written);
  written = path ? fopen(path, "w") : NULL;
}
void pretended_note(const char *line) { LOG("%s\n", line); }

/* ---- graphs: how many kernels and copies were recorded, of the one stream that is captured */
static cudaStream_t captured;
static unsigned long recorded;
static int records(cudaStream_t stream) {
  if (!captured || stream != captured) return 0;
  __atomic_fetch_add(&recorded, 1, __ATOMIC_RELAXED);
  return 1;
}
API cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
  if (captured) return cudaErrorStreamCaptureUnsupported;
  captured = stream;
  recorded = 0;
  DONE;
}
API cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  captured = NULL;
  unsigned long *count = malloc(sizeof *count);
  *count = recorded;
  *graph = (cudaGraph_t)count;
  DONE;
}
API cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
  int under = captured && stream == captured;
  *status = under ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  DONE;
}
/* cudaStreamGetCaptureInfo(...) has other arguments behind these in other versions of CUDA */
API capture_info(cudaStream_t stream, enum cudaStreamCaptureStatus *status, unsigned long long *id)
    __asm__("cudaStreamGetCaptureInfo");
API capture_info(cudaStream_t stream, enum cudaStreamCaptureStatus *status, unsigned long long *id) {
  if (id) *id = 1;
  return cudaStreamIsCapturing(stream, status);
}
API cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) { DONE; }
API cudaGraphInstantiateWithFlags(cudaGraphExec_t *made, cudaGraph_t graph,
                                  unsigned long long flags) {
  unsigned long *count = malloc(sizeof *count);
  *count = *(unsigned long *)graph;
  *made = (cudaGraphExec_t)count;
  DONE;
}
API cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
  *count = *(unsigned long *)graph;
  DONE;
}
API cudaGraphDestroy(cudaGraph_t graph) { free(graph); DONE; }
API cudaGraphExecDestroy(cudaGraphExec_t graph) { free(graph); DONE; }
API cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  COUNT(replays);
  __atomic_fetch_add(&pretended.launches, *(unsigned long *)graph, __ATOMIC_RELAXED);
  LOG("kernel %p\n", stream);
  DONE;
}

static __thread cudaStream_t of_products; /* the stream that cuBLAS was told last */
int pretended_product(void) {
  if (!records(of_products)) COUNT(launches);
  LOG("kernel %p\n", of_products);
  return 1 + COUNT(products) == pretended.fail_product ? 3 : 0; /* CUBLAS_STATUS_ALLOC_FAILED */
}
int cublasSetStream_v2(void *handle, cudaStream_t stream) { of_products = stream; return 0; }

/* ---- the cards */
static long setting(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text && *text ? atol(text) : otherwise;
}
static int visible(void) { /* how many cards CUDA_VISIBLE_DEVICES leaves: those before a wrong one */
  int all = (int)setting("PRETENDED_CARDS", 1), count = 0;
  const char *text = getenv("CUDA_VISIBLE_DEVICES");
  if (!text) return all;
  while (*text) {
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || number < 0 || number >= all) break;
    count++;
    text = *end == ',' ? end + 1 : end;
  }
  return count;
}
static int cards(void) { return visible(); }
static int is_busy(int card) { return card + 1 == (int)setting("PRETENDED_BUSY", 0); }
static size_t others(int card) { /* what other processes hold of the first card */
  return card ? 0 : (size_t)setting("PRETENDED_OTHERS", 0) * 1000000;
}
static int capability(int card) { /* that of the second card may be another */
  long all = setting("PRETENDED_CAPABILITY", 90);
  return (int)(card == 1 ? setting("PRETENDED_CAPABILITY_1", all) : all);
}
static size_t memory(void) { return (size_t)setting("PRETENDED_MB", 80000) * 1000000; }
static __thread int current;

API cudaGetDeviceCount(int *count) {
  long refusal = setting("PRETENDED_REFUSAL", 0);
  *count = refusal ? 0 : cards();
  return *count || refusal ? (cudaError_t)refusal : cudaErrorNoDevice;
}
API cudaDriverGetVersion(int *version) { *version = 13000; DONE; }
API cudaGetDevice(int *card) { *card = current; DONE; }
API cudaSetDevice(int card) {
  if (card < 0 || card >= cards()) return cudaErrorInvalidDevice;
  current = card;
  DONE;
}
API cudaGetDeviceProperties(struct cudaDeviceProp *card, int number) {
  memset(card, 0, sizeof *card);
  snprintf(card->name, sizeof card->name, "pretended card of sm_%d", capability(number));
  card->major = capability(number) / 10;
  card->minor = capability(number) % 10;
  card->totalGlobalMem = memory();
  card->multiProcessorCount = 132;
  card->warpSize = 32;
  card->maxThreadsPerBlock = card->maxThreadsDim[0] = card->maxThreadsDim[1] = 1024;
  card->maxThreadsDim[2] = 64;
  card->maxThreadsPerMultiProcessor = 2048;
  card->maxGridSize[0] = 0x7fffffff;
  card->maxGridSize[1] = card->maxGridSize[2] = 65535;
  card->regsPerBlock = card->regsPerMultiprocessor = 65536;
  card->sharedMemPerBlock = 48 << 10;
  card->sharedMemPerBlockOptin = (capability(number) >= 90 ? 227 : capability(number) >= 80 ? 163 : 96) << 10;
  card->sharedMemPerMultiprocessor = card->sharedMemPerBlockOptin + 1024;
  card->l2CacheSize = 50 << 20;
  DONE;
}
API cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int number) {
  struct cudaDeviceProp card;
  cudaGetDeviceProperties(&card, number);
  switch (which) {
    case cudaDevAttrComputeCapabilityMajor: *value = card.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = card.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = card.multiProcessorCount; break;
    case cudaDevAttrWarpSize: *value = card.warpSize; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)card.sharedMemPerBlockOptin; break;
    default: *value = 0;
  }
  DONE;
}
API cudaDeviceCanAccessPeer(int *can, int one, int other) { *can = 0; DONE; }
API cudaDeviceGetStreamPriorityRange(int *least, int *most) { *least = 0; *most = -5; DONE; }

/* ---- memory */
struct block { struct block *next; void *start; size_t size; int card; };
static struct block *blocks[1024];
static struct block **bucket(void *start) { return &blocks[((size_t)start >> 12) % 1024]; }

API cudaMalloc(void **start, size_t size) {
  unsigned long number = 1 + COUNT(allocations);
  size = (size + 4095) & ~(size_t)4095;
  if (is_busy(current)) return cudaErrorDevicesUnavailable;
  pthread_mutex_lock(&lock);
  size_t held = pretended.held[current] + others(current);
  int short_of = number == pretended.fail_at || held + size > memory();
  if (number == pretended.fail_at && pretended.again) {
    pretended.fail_at += pretended.again;
    pretended.again = 0;
  }
  if (!short_of) pretended.held[current] += size;
  pthread_mutex_unlock(&lock);
  if (short_of) return cudaErrorMemoryAllocation;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  *start = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  struct block *made = malloc(sizeof *made);
  pthread_mutex_lock(&lock);
  *made = (struct block){*bucket(*start), *start, size, current};
  *bucket(*start) = made;
  pthread_mutex_unlock(&lock);
  DONE;
}
API cudaFree(void *start) {
  pthread_mutex_lock(&lock);
  for (struct block **at = bucket(start); start && *at; at = &(*at)->next)
    if ((*at)->start == start) {
      struct block *gone = *at;
      *at = gone->next;
      LOG("freed %p %zu\n", start, gone->size);
      pretended.held[gone->card] -= gone->size;
      munmap(start, gone->size);
      free(gone);
      break;
    }
  pthread_mutex_unlock(&lock);
  DONE;
}
API cudaMemGetInfo(size_t *left, size_t *all) {
  if (is_busy(current)) return cudaErrorDevicesUnavailable;
  *all = memory();
  *left = memory() - pretended.held[current] - others(current);
  DONE;
}
API cudaHostAlloc(void **start, size_t size, unsigned flags) {
  if (posix_memalign(start, 4096, size ? size : 1)) return cudaErrorMemoryAllocation;
  LOG("pinned %p %zu\n", *start, size);
  DONE;
}
API cudaFreeHost(void *start) { free(start); DONE; }
API cudaPointerGetAttributes(struct cudaPointerAttributes *about, const void *start) {
  memset(about, 0, sizeof *about);
  DONE;
}
static char symbols[1 << 16];
API cudaGetSymbolAddress(void **address, const void *symbol) { *address = symbols; DONE; }

/* ---- copies */
#define LARGE (1 << 20)
static void read_as(void *to, size_t size) {
  if (size > LARGE) { /* whole pages are given back, and are zeros when they are looked at */
    char *first = (char *)(((size_t)to + 4095) & ~(size_t)4095), *end = (char *)to + size;
    char *last = (char *)((size_t)end & ~(size_t)4095);
    if (!madvise(first, last - first, MADV_DONTNEED)) {
      memset(to, 0, first - (char *)to);
      memset(last, 0, end - last);
      return;
    }
  }
  memset(to, 0, size);
  for (size_t at = 0; pretended.reads && at < size / 4; at++) ((float *)to)[at] = pretended.reads == 1 ? 1.0f : 1e39;
}
static void held_by_host(const volatile char *from, size_t size) { /* else the process dies here */
  if (size) { (void)from[0]; (void)from[size - 1]; }
}
API cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                    cudaStream_t stream) {
  LOG("copy %p %p %p %zu\n", stream, to, from, size);
  if (kind == cudaMemcpyHostToDevice) { COUNT(to_device); held_by_host(from, size); }
  else if (kind == cudaMemcpyDeviceToHost) { COUNT(to_host); read_as(to, size); }
  else if (kind == cudaMemcpyDeviceToDevice) { if (!records(stream)) COUNT(within); }
  else memcpy(to, from, size);
  DONE;
}
API cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
  COUNT(waits);
  cudaMemcpyAsync(to, from, size, kind, 0);
  LOG("waited %p\n", NULL);
  DONE;
}
API cudaMemcpyPeerAsync(void *to, int one, const void *from, int other, size_t size,
                        cudaStream_t stream) { COUNT(within); DONE; }
API cudaMemsetAsync(void *start, int value, size_t size, cudaStream_t s) {
  if (!records(s)) COUNT(launches);
  LOG("kernel %p\n", s);
  DONE;
}
API cudaMemset(void *start, int value, size_t size) { COUNT(launches); DONE; }

/* ---- kernels, by the host function that stands for each */
#define PLACES (1 << 17)
static struct { const void *function; const char *name; unsigned long count; } kernels[PLACES];
static size_t place(const void *function) {
  size_t at = ((size_t)function * 0x9E3779B97F4A7C15u) >> 47;
  pthread_mutex_lock(&lock);
  while (kernels[at].function && kernels[at].function != function) at = (at + 1) % PLACES;
  kernels[at].function = function;
  pthread_mutex_unlock(&lock);
  return at;
}
static API launch(const void *function, cudaStream_t stream) {
  if (!records(stream)) COUNT(launches);
  LOG("kernel %p\n", stream);
  __atomic_fetch_add(&kernels[place(function)].count, 1, __ATOMIC_RELAXED);
  DONE;
}
void __cudaRegisterFunction(void **module, const char *function, char *device, const char *name,
                            int limit, void *a, void *b, void *c, void *d, int *size) {
  kernels[place(function)].name = name;
}
API __cudaGetKernel(cudaKernel_t *kernel, const void *f) { *kernel = (cudaKernel_t)f; DONE; }
API __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                       cudaStream_t stream) { return launch(kernel, stream); }
API cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                     cudaStream_t stream) { return launch(function, stream); }
API cudaLaunchKernelExC(const cudaLaunchConfig_t *how, const void *function, void **arguments) {
  return launch(function, how->stream);
}
API cudaFuncGetAttributes(struct cudaFuncAttributes *about, const void *function) {
  memset(about, 0, sizeof *about);
  about->maxThreadsPerBlock = 1024;
  about->binaryVersion = about->ptxVersion = capability(current);
  DONE;
}
API cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute which, int value) { DONE; }
API cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, const void *function,
    int block, size_t shared, unsigned flags) { *count = 2; DONE; }

void pretended_reset(void) {
  pretended.launches = pretended.products = pretended.waits = pretended.allocations = 0;
  pretended.to_device = pretended.to_host = pretended.within = pretended.replays = 0;
  for (size_t at = 0; at < PLACES; at++) kernels[at].count = 0;
}
void pretended_kernels(const char *path) { /* one line each: how often, and its mangled name */
  FILE *file = fopen(path, "w");
  for (size_t at = 0; at < PLACES; at++)
    if (kernels[at].count)
      fprintf(file, "%lu %s\n", kernels[at].count, kernels[at].name ? kernels[at].name : "?");
  fclose(file);
}

/* ---- streams, events, waits */
API cudaDeviceSynchronize(void) { COUNT(waits); LOG("waited all\n"); DONE; }
API cudaStreamSynchronize(cudaStream_t s) { COUNT(waits); LOG("waited %p\n", s); DONE; }
API cudaEventSynchronize(cudaEvent_t event) { COUNT(waits); LOG("over %p\n", event); DONE; }
API cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
  *stream = malloc(16);
  if (flags != cudaStreamNonBlocking) LOG("unordered streams are meant: %p\n", *stream);
  DONE;
}
API cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }
API cudaStreamDestroy(cudaStream_t stream) { free(stream); DONE; }
API cudaStreamQuery(cudaStream_t stream) {
  if (pretended.slow) return cudaErrorNotReady;
  LOG("waited %p\n", stream);
  DONE;
}
API cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  LOG("waits %p %p\n", stream, event);
  DONE;
}
API cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) { *event = malloc(16); DONE; }
API cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }
API cudaEventDestroy(cudaEvent_t event) { free(event); DONE; }
API cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  LOG("records %p %p\n", stream, event);
  DONE;
}
API cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  return cudaEventRecord(event, stream);
}
API cudaEventQuery(cudaEvent_t event) {
  if (pretended.slow) return cudaErrorNotReady;
  LOG("over %p\n", event);
  DONE;
}
API cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) { *ms = 1.0f; DONE; }
API cudaGetLastError(void) { DONE; }
API cudaPeekAtLastError(void) { DONE; }

/* ---- the driver and cuBLAS, as far as an answer has to be filled in */
static int agree(void) { return 0; }
API cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
    unsigned long long flags, enum cudaDriverEntryPointQueryResult *found) {
  *function = (void *)agree;
  if (found) *found = cudaDriverEntryPointSuccess;
  DONE;
}
int cuDevicePrimaryCtxGetState(int card, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return 0;
}
int cuCtxGetCurrent(void **context) { *context = symbols; return 0; }
int cuDeviceGet(int *card, int number) { *card = number; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "pretended"; return 0; }
int cublasCreate_v2(void **handle) { /* its workspace is the device's, as cuBLAS's is */
  void *space;
  if (cudaMalloc(&space, 1 << 20)) return 3; /* CUBLAS_STATUS_ALLOC_FAILED */
  *handle = space;
  return 0;
}
int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
int cublasGetPointerMode_v2(void *handle, int *mode) { *mode = 0; return 0; }
static int described(void **made) { *made = calloc(1, 512); return 0; }
int cublasLtMatmulDescCreate(void **made, int compute, int scale) { return described(made); }
int cublasLtMatmulPreferenceCreate(void **made) { return described(made); }
int cublasLtMatrixLayoutCreate(void **made, int type, unsigned long rows, unsigned long columns,
                               long leading) { return described(made); }
int cublasLtMatmulDescDestroy(void *made) { free(made); return 0; }
int cublasLtMatmulPreferenceDestroy(void *made) { free(made); return 0; }
int cublasLtMatrixLayoutDestroy(void *made) { free(made); return 0; }
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *what, void *a, void *b, void *c, void *d,
                                   void *preference, int wanted, void *results, int *found) {
  memset(results, 0, 64); /* of the first: any algorithm, no workspace, success */
  *found = 1;
  return 0;
}
