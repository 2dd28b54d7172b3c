package lambdalocal

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Handler is Lambda's own API as far as it is needed to invoke functions, in its REST-JSON form:
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html. Requests have to be signed; signatures are not checked.
func (l *Lambda) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", l.handleInvoke)
	return mux
}

func (l *Lambda) handleInvoke(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		apiError(w, http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token", "")
		return
	}
	name, err := url.PathUnescape(r.PathValue("name"))
	if err != nil {
		apiError(w, http.StatusBadRequest, "InvalidParameterValueException", "the function's name is not escaped rightly", "")
		return
	}
	switch kind := r.Header.Get("X-Amz-Invocation-Type"); kind {
	case "", "RequestResponse":
	default:
		apiError(w, http.StatusBadRequest, "InvalidParameterValueException", "invocation type "+kind+" is not played here: nothing may rely on it", "")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayloadBytes))
	if err != nil {
		apiError(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException",
			"Request must be smaller than "+strconv.Itoa(MaxPayloadBytes)+" bytes for the InvokeFunction operation", "")
		return
	}
	clientContext, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Amz-Client-Context"))
	if err != nil {
		apiError(w, http.StatusBadRequest, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.", "")
		return
	}
	result, err := l.Invoke(r.Context(), Invocation{
		Function: name, Qualifier: r.URL.Query().Get("Qualifier"), Payload: body,
		Trace: r.Header.Get("X-Amzn-Trace-Id"), ClientContext: string(clientContext),
	})
	if err != nil {
		invokeError(w, err)
		return
	}
	h := w.Header()
	h.Set("X-Amzn-RequestId", result.RequestID)
	h.Set("X-Amz-Executed-Version", version)
	if result.FunctionError != "" {
		h.Set("X-Amz-Function-Error", result.FunctionError)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(result.Payload)))
	_, _ = w.Write(result.Payload)
}

// invokeError answers with the error of an invocation that did not take place.
func invokeError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrThrottled):
		apiError(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.", "ReservedFunctionConcurrentInvocationLimitExceeded")
	case errors.Is(err, fault.NotFound):
		apiError(w, http.StatusNotFound, "ResourceNotFoundException", err.Error(), "")
	case errors.Is(err, fault.ResourceExhausted):
		apiError(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", err.Error(), "")
	case errors.Is(err, fault.Invalid):
		apiError(w, http.StatusBadRequest, "InvalidParameterValueException", err.Error(), "")
	default:
		apiError(w, http.StatusInternalServerError, "ServiceException", err.Error(), "")
	}
}

// apiError is an error of Lambda's API. Its fields begin with capitals but for those of the service's own faults, and the SDK
// reads the name from the header.
func apiError(w http.ResponseWriter, status int, name, message, reason string) {
	w.Header().Set("X-Amzn-ErrorType", name)
	body := map[string]string{"Type": "User", "Message": message, "message": message}
	if status >= http.StatusInternalServerError {
		body["Type"] = "Service"
	}
	if reason != "" {
		body["Reason"] = reason
	}
	writeJSON(w, status, body)
}
