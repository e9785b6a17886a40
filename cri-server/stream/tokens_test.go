package stream

import (
	"testing"
	"time"
)

func TestATokenWorksOnceForAMinuteAndForItsVerb(t *testing.T) {
	k, now := newTokens(), time.Unix(1000, 0)
	token, err := k.insert(request{verb: "exec", id: "c"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.consume("attach", token, now); ok {
		t.Fatal("an exec was attached")
	}
	if r, ok := k.consume("exec", token, now.Add(tokenLife)); !ok || r.id != "c" {
		t.Fatalf("got %+v, %v", r, ok)
	}
	if _, ok := k.consume("exec", token, now); ok {
		t.Fatal("worked twice")
	}
	token, err = k.insert(request{verb: "exec"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.consume("exec", token, now.Add(tokenLife+1)); ok {
		t.Fatal("worked too late")
	}
	if _, err := k.insert(request{verb: "exec"}, now.Add(tokenLife+1)); err != nil || len(k.pending) != 1 {
		t.Fatalf("%d are kept, %v", len(k.pending), err)
	}
}
