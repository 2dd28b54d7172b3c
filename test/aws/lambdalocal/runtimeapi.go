package lambdalocal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Paths and headers of the Runtime API (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html) and of the Extensions
// API (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html).
const (
	runtimePath   = "/2018-06-01/runtime"
	extensionPath = "/2020-01-01/extension"

	headerRequestID     = "Lambda-Runtime-Aws-Request-Id"
	headerDeadline      = "Lambda-Runtime-Deadline-Ms"
	headerARN           = "Lambda-Runtime-Invoked-Function-Arn"
	headerTrace         = "Lambda-Runtime-Trace-Id"
	headerClientContext = "Lambda-Runtime-Client-Context"
	headerExtensionName = "Lambda-Extension-Name"
	headerExtensionID   = "Lambda-Extension-Identifier"
	// Trailers of an answer that broke off.
	trailerErrorType = "Lambda-Runtime-Function-Error-Type"
	trailerErrorBody = "Lambda-Runtime-Function-Error-Body"
)

// routes is the Runtime API of one process.
func (i *instance) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+runtimePath+"/invocation/next", i.next)
	mux.HandleFunc("POST "+runtimePath+"/invocation/{id}/response", i.response)
	mux.HandleFunc("POST "+runtimePath+"/invocation/{id}/error", i.failure)
	mux.HandleFunc("POST "+runtimePath+"/init/error", i.initFailure)
	mux.HandleFunc("POST "+extensionPath+"/register", i.register)
	mux.HandleFunc("GET "+extensionPath+"/event/next", i.extensionNext)
	return mux
}

// next gives the process its next invocation. Until there is one the process is frozen.
func (i *instance) next(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	select {
	case <-i.ready:
	default:
		i.cold = time.Since(i.started)
		close(i.ready)
	}
	select {
	case i.polled <- struct{}{}:
	default:
	}
	i.polling = true
	i.settle()
	i.mu.Unlock()
	select {
	case call := <-i.work:
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set(headerRequestID, call.id)
		h.Set(headerDeadline, strconv.FormatInt(call.deadline.UnixMilli(), 10))
		h.Set(headerARN, call.arn)
		h.Set(headerTrace, call.trace)
		if call.clientContext != "" {
			h.Set(headerClientContext, call.clientContext)
		}
		_, _ = w.Write(call.payload)
	case <-r.Context().Done():
	}
}

func (i *invocation) isDone() bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}

// claim finds the invocation that a process answers.
func (i *instance) claim(w http.ResponseWriter, r *http.Request) *invocation {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil || i.current.id != r.PathValue("id") || i.current.isDone() {
		runtimeError(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return nil
	}
	return i.current
}

func (i *instance) response(w http.ResponseWriter, r *http.Request) {
	call := i.claim(w, r)
	if call == nil {
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		call.finish(Result{FunctionError: unhandled, Payload: errorPayload("Function.ResponseSizeTooLarge",
			fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", MaxPayloadBytes))})
		return
	}
	result := Result{Payload: body}
	if kind := r.Trailer.Get(trailerErrorType); kind != "" {
		text, err := base64.StdEncoding.DecodeString(r.Trailer.Get(trailerErrorBody))
		if err != nil {
			text = errorPayload(kind, "the answer broke off")
		}
		result = Result{FunctionError: unhandled, Payload: text}
	}
	accepted(w)
	call.finish(result)
}

func (i *instance) failure(w http.ResponseWriter, r *http.Request) {
	call := i.claim(w, r)
	if call == nil {
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		body = errorPayload("Function.ResponseSizeTooLarge", "the error was too large")
	} else {
		accepted(w)
	}
	call.finish(Result{FunctionError: unhandled, Payload: body})
}

// initFailure is how a process says that it cannot start. It ends by itself then.
func (i *instance) initFailure(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	i.mu.Lock()
	i.initError = body
	i.mu.Unlock()
	accepted(w)
}

// register takes an extension, which may be a part of the function's own process.
func (i *instance) register(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(headerExtensionName) == "" {
		runtimeError(w, http.StatusBadRequest, "Extension.InvalidExtensionName", "Extension name is missing")
		return
	}
	if _, ok := readBody(w, r); !ok {
		return
	}
	id := rand.Text()
	i.mu.Lock()
	i.extensions[id] = false
	i.mu.Unlock()
	w.Header().Set(headerExtensionID, id)
	writeJSON(w, http.StatusOK, map[string]string{
		"functionName": i.function.Name, "functionVersion": version, "handler": "bootstrap",
	})
}

// extensionNext blocks until the end: no event is ever sent, as an internal extension may not ask for SHUTDOWN.
func (i *instance) extensionNext(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(headerExtensionID)
	i.mu.Lock()
	_, known := i.extensions[id]
	if known {
		i.extensions[id] = true
		i.settle()
	}
	i.mu.Unlock()
	if !known {
		runtimeError(w, http.StatusForbidden, "Extension.UnknownExtensionIdentifier", "Unknown extension")
		return
	}
	<-r.Context().Done()
}

// readBody reads at most MaxPayloadBytes; more is answered with 413.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayloadBytes))
	if err != nil {
		runtimeError(w, http.StatusRequestEntityTooLarge, "Function.ResponseSizeTooLarge", "Exceeded maximum allowed payload size")
		return nil, false
	}
	return body, true
}

func accepted(w http.ResponseWriter) {
	writeJSON(w, http.StatusAccepted, map[string]string{"status": "OK"})
}

func runtimeError(w http.ResponseWriter, status int, kind, text string) {
	writeJSON(w, status, map[string]string{"errorType": kind, "errorMessage": text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

// logStream names a log stream as Lambda does.
func logStream(at time.Time) string {
	return at.UTC().Format("2006/01/02") + "/[" + version + "]" + rand.Text()
}
