// Command test-images builds the test images into an OCI layout.
//
//	test-images --out build/images --cache build/cache
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-runtime/berth/test/images"
)

func main() {
	var o images.Options
	flag.StringVar(&o.Source, "source", "test/images", "folder of the images' source")
	flag.StringVar(&o.Out, "out", "build/images", "OCI layout to write")
	flag.StringVar(&o.Cache, "cache", "build/cache", "folder of what is kept between runs")
	flag.StringVar(&o.Only, "only", "", "build the one image of this repository:tag")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := images.Build(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "test-images:", err)
		os.Exit(1)
	}
}
