// SPDX-License-Identifier: Apache-2.0
// GET /hello on Go's net/http. It writes Date, Content-Length and keep-alive by itself.
//
//	hello PORT     exit: killed by a signal; 1 cannot listen, 2 usage

package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

var hello = []byte(`{"message":"hello, world"}`)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: hello PORT")
		os.Exit(2)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(hello)
	})
	server := &http.Server{
		Addr:              "127.0.0.1:" + os.Args[1],
		Handler:           routes,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 * 1024,
	}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}
