"""What CPython's pools do with the same work. Reads numbers of tasks, prints seconds; see python.rs."""
import sys
import time


def work(n):
    return n + 1


def length(data):
    return len(data)


KEPT = None


def hand_over(_):
    return KEPT


def keep(size):
    global KEPT
    KEPT = bytes(size)
    return KEPT


def timed(do, expected=None):
    start = time.perf_counter()
    done = do()
    took = time.perf_counter() - start
    assert expected is None or done == expected, f"{done} instead of {expected}"
    return took


def fork_pool(workers):
    import multiprocessing

    return multiprocessing.get_context("fork").Pool(workers)


def process_executor(workers):
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(workers)


def loky_executor(workers):
    import loky

    return loky.get_reusable_executor(max_workers=workers)


def one_by_one(call):
    return lambda n: timed(lambda: sum(call(i) for i in range(n)), n * (n + 1) // 2)


def all_at_once(executor):
    def run(n):
        def do():
            return sum(future.result() for future in [executor.submit(work, i) for i in range(n)])

        return timed(do, n * (n + 1) // 2)

    return run


def mapped(pool, chunk):
    return lambda n: timed(lambda: sum(pool.map(work, range(n), chunksize=chunk)), n * (n + 1) // 2)


def joblib_parallel(workers):
    import joblib

    parallel = joblib.Parallel(n_jobs=workers, batch_size=1)

    def run(n):
        call = joblib.delayed(work)
        return timed(lambda: sum(parallel(call(i) for i in range(n))), n * (n + 1) // 2)

    return run


def processes():
    import multiprocessing

    context = multiprocessing.get_context("fork")

    def run(n):
        def do():
            for i in range(n):
                process = context.Process(target=work, args=(i,))
                process.start()
                process.join()

        return timed(do)

    return run


def several(call):
    """Calls `call` n times; it gives the seconds of one."""
    return lambda n: sum(call() for _ in range(n))


def sent(size):
    data = keep(size)
    pool = fork_pool(1)
    return several(lambda: timed(lambda: pool.apply(length, (data,)), size))


def received(size):
    keep(size)
    pool = fork_pool(1)
    return several(lambda: timed(lambda: len(pool.apply(hand_over, (0,))), size))


def thread_executor(workers):
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers)


def contender(kind, number):
    if kind == "Pool.apply":
        pool = fork_pool(number)
        return one_by_one(lambda i: pool.apply(work, (i,)))
    if kind == "ProcessPoolExecutor, one at a time":
        executor = process_executor(number)
        return one_by_one(lambda i: executor.submit(work, i).result())
    if kind == "loky, one at a time":
        executor = loky_executor(number)
        return one_by_one(lambda i: executor.submit(work, i).result())
    if kind == "ThreadPoolExecutor, one at a time":
        executor = thread_executor(number)
        return one_by_one(lambda i: executor.submit(work, i).result())
    if kind == "ThreadPoolExecutor":
        return all_at_once(thread_executor(number))
    if kind == "ProcessPoolExecutor":
        return all_at_once(process_executor(number))
    if kind == "loky":
        return all_at_once(loky_executor(number))
    if kind == "joblib, batches of 1":
        return joblib_parallel(number)
    if kind == "Pool.map(chunksize=1)":
        return mapped(fork_pool(number), 1)
    if kind == "Pool.map":
        return mapped(fork_pool(number), None)
    if kind == "Process, fork":
        return processes()
    if kind == "Pool, argument":
        return sent(number)
    if kind == "Pool, result":
        return received(number)
    raise ValueError(kind)


def main():
    try:
        run = contender(sys.argv[1], int(sys.argv[2]))
    except ImportError as missing:
        print(f"missing {missing}", flush=True)
        return
    print("ready", flush=True)
    for line in sys.stdin:
        print(run(int(line)), flush=True)


if __name__ == "__main__":
    main()
