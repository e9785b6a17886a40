package stream

import (
	"context"
	"log/slog"

	"k8s.io/klog/v2"
)

// LogTo sends what the streaming library logs to logger. The library logs for the whole process, so this is called once,
// before anything runs.
//
// All of it becomes debugging: what the library calls unhandled errors are commands that were not found and clients that
// left, which their callers hear of.
func LogTo(logger *slog.Logger) { klog.SetSlogLogger(slog.New(demoted{logger.Handler()})) }

type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{d.Handler.WithAttrs(attrs)}
}
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }
