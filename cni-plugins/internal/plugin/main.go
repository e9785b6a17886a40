package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/berth-runtime/berth/internal/cniwire"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Commands are the functions of a plugin, all of which must be set, and what there is to say about it.
type Commands struct {
	Name, About string   // for people: the program's name, and what it does in a sentence
	Keys        []string // of the configuration, as [Keys] lists them; nil = say nothing about unknown ones
	Section     string   // of the configuration that Keys are from, "" = its top level

	Add    func(*Request) (*current.Result, error) // the result in the newest version; Run converts it
	Del    func(*Request) error                    // idempotent, also for what was never added and when Netns is ""
	Check  func(*Request) error
	GC     func(*Request) error
	Status func(*Request) error
}

// Main runs the plugin for the environment and the standard streams of the process, and ends it.
func Main(c Commands) {
	// There is one thing to do at a time: more processors would only wake threads that find nothing, which costs more than the work between
	// two system calls. Where the entry in assembly has run, this changes nothing, which costs nothing either.
	runtime.GOMAXPROCS(1)
	environ := os.Environ()
	switch command := lookup(environ)("CNI_COMMAND"); {
	case command == "" && slices.Contains(environ, cniwire.Serve):
		if err := Serve(c, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "%s: serve calls: %v\n", c.Name, err)
			os.Exit(1)
		}
		os.Exit(0)
	case command == "" && len(os.Args) > 1:
		os.Exit(usage(c, os.Args[1], os.Stdout, os.Stderr))
	}
	os.Exit(Run(c, environ, os.Stdin, os.Stdout, os.Stderr))
}

// Run runs the plugin with an environment, "NAME=value" each, and returns the exit status: 0, or 1 after an error object was printed.
func Run(c Commands, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	getenv := lookup(environ)
	command := getenv("CNI_COMMAND")
	r, err := readRequest(getenv, stdin)
	var answer any
	if err == nil {
		r.Stderr, r.Environ = stderr, environ
		answer, err = dispatch(c, r)
	}
	if closeErr := r.close(); err == nil {
		err = closeErr
	}
	if err == nil && answer != nil {
		err = printJSON(stdout, answer)
	}
	if err == nil {
		return 0
	}
	v := version.Current()
	if r != nil && r.Config.CNIVersion != "" {
		v = r.Config.CNIVersion
	}
	if err := printJSON(stdout, errorObject(v, command, err)); err != nil {
		fmt.Fprintln(stderr, err)
	}
	return 1
}

func dispatch(c Commands, r *Request) (any, error) {
	switch r.Command {
	case "VERSION":
		return versionObject{CNIVersion: r.Config.CNIVersion, Supported: version.All.SupportedVersions()}, nil
	case "ADD":
		c.WarnUnknown(r)
		result, err := c.Add(r)
		if err != nil {
			return nil, err
		}
		return convert(result, r.Config.CNIVersion)
	case "DEL":
		return nil, c.Del(r)
	case "CHECK":
		if r.Config.Prev == nil {
			return nil, errdefs.Invalid("CHECK needs prevResult, the result of ADD")
		}
		return nil, c.Check(r)
	case "GC":
		return nil, c.GC(r)
	case "STATUS":
		return nil, c.Status(r)
	}
	return nil, errdefs.Bug("command %s passed the check of the environment", r.Command)
}

// convert turns a result into the version that the caller speaks.
func convert(result *current.Result, v string) (types.Result, error) {
	result.CNIVersion = current.ImplementedSpecVersion
	old, err := result.GetAsVersion(v)
	if err != nil {
		return nil, WithCode(types.ErrIncompatibleCNIVersion, fmt.Errorf("convert the result to CNI version %s: %w", v, err))
	}
	return old, nil
}

type versionObject struct {
	CNIVersion string   `json:"cniVersion"`
	Supported  []string `json:"supportedVersions"`
}

type errorJSON struct {
	CNIVersion string `json:"cniVersion"`
	types.Error
}

func errorObject(v, command string, err error) errorJSON {
	return errorJSON{CNIVersion: v, Error: types.Error{Code: code(command, err), Msg: err.Error(), Details: details(err)}}
}

func printJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return errdefs.Bug("encode the answer: %w", err)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return WithCode(types.ErrIOFailure, fmt.Errorf("print the answer: %w", err))
	}
	return nil
}
