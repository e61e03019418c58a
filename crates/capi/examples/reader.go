// Counts the bytes that come through the ring that a path names. A goroutine may move between threads, and an end may,
// too. But the last error is kept for each thread, so a call and its error stay on one.
package main

// #cgo LDFLAGS: -lshmpipe
// #include <shmpipe.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"
)

func main() {
	runtime.LockOSThread()
	path := C.CString(os.Args[1])
	defer C.free(unsafe.Pointer(path))
	var end *C.shmpipe_end
	if C.shmpipe_open(path, C.SHMPIPE_CONSUMER, nil, &end) < 0 {
		fmt.Fprintln(os.Stderr, C.GoString(C.shmpipe_last_error()))
		os.Exit(1)
	}
	defer C.shmpipe_free(end)
	buffer := make([]byte, 65536)
	total := 0
	for {
		got := C.shmpipe_read(end, unsafe.Pointer(&buffer[0]), C.size_t(len(buffer)), -1)
		if got < 0 {
			fmt.Fprintln(os.Stderr, C.GoString(C.shmpipe_last_error()))
			os.Exit(1)
		}
		if got == 0 {
			break
		}
		total += int(got)
	}
	fmt.Println(total, "bytes")
}
