package rpc_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// A node must not lose its pods because there is room for no more.
func TestStatusOfANodeWithoutAddresses(t *testing.T) {
	c := serve(t, newFake(), errdefs.New(errdefs.ErrExhausted, "all are taken"))
	c.server.SetReady()
	got, err := c.Status(t.Context(), &runtimeapi.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, c := range got.GetStatus().GetConditions() {
		said = append(said, fmt.Sprint(c.GetType(), " ", c.GetStatus(), " ", c.GetReason(), " ", c.GetMessage()))
	}
	want := []string{"RuntimeReady true  ", "NetworkReady true  ", "AddressesAvailable false AddressesExhausted all are taken"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
}
