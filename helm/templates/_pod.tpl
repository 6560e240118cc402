{{/* The pod, which is the same in the Deployment and in the StatefulSet. */}}

{{/* What every container of ours has: image, security, settings and files. Called with root, arguments, perhaps more
     variables; and for a hook, which runs before the release's objects exist, with `hook` and the mounts that it needs. */}}
{{- define "aries-bridge.container" -}}
image: {{ include "aries-bridge.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [aries-bridge]
args: {{ .args | toJson }}
envFrom:
  - configMapRef:
      name: {{ if .hook }}{{ include "aries-bridge.fullname" .root }}-hooks{{ else }}{{ include "aries-bridge.workloadName" .root }}{{ end }}
  {{- with .root.Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with concat (.root.Values.extraEnv | default list) (.env | default list) }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "aries-bridge.volumeMounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .root.Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
{{- end -}}

{{/* A container with `aries-bridge check`; called as the container is. */}}
{{- define "aries-bridge.check" -}}
{{- /* This pod's name has no number to tell its shard by. */}}
{{- $env := ternary list (list (dict "name" "BRIDGE_SHARD" "value" "0")) (empty (include "aries-bridge.isStatefulSet" .root)) }}
{{- $env = append $env (dict "name" "CHART_VALUE_NAMES" "value" (.root.Files.Get "setting-values.json" | fromJson | toJson)) }}
{{- include "aries-bridge.container" (merge (dict "args" (list "check" "--no-session") "env" $env) .) -}}
{{- end -}}

{{/* What the pods of the bridge, of hooks and of `helm test` have in common; called as the container is. */}}
{{- define "aries-bridge.podSettings" -}}
{{- $v := .root.Values -}}
{{- with include "aries-bridge.imagePullSecrets" .root | trim }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "aries-bridge.serviceAccountName" .root }}{{ if and .hook $v.serviceAccount.create (not (include "aries-bridge.isIdentity" .root)) }}-hooks{{ end }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "aries-bridge.podSecurityContext" .root | nindent 2 }}
{{- range $name := list "nodeSelector" "affinity" "hostAliases" "dnsConfig" }}
{{- with index $v $name }}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
tolerations:
  {{- include "aries-bridge.tolerations" .root | nindent 2 }}
{{- range $name := list "priorityClassName" "schedulerName" }}
{{- with index $v $name }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- with include "aries-bridge.volumes" . | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* OpenShift assigns users and groups itself, and rejects pods that name them. */}}
{{- define "aries-bridge.podSecurityContext" -}}
{{- if .Values.openshift.enabled -}}
{{- toYaml (omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup") -}}
{{- else -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}
{{- end -}}

{{/* Those of the values, and how long to wait for a node that is lost, unless they have it themselves. */}}
{{- define "aries-bridge.tolerations" -}}
{{- $tolerations := .Values.tolerations -}}
{{- $keys := list -}}
{{- range $tolerations -}}
{{- $keys = append $keys .key -}}
{{- end -}}
{{- range $key := list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" -}}
{{- if not (has $key $keys) -}}
{{- $wait := dict "key" $key "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" (int $.Values.lostNodeSeconds) -}}
{{- $tolerations = append $tolerations $wait -}}
{{- end -}}
{{- end -}}
{{- toYaml $tolerations -}}
{{- end -}}

{{/* A probe of ours, in which each field can be replaced; called with its path and the values about it. */}}
{{- define "aries-bridge.probe" -}}
{{- $probe := .probe -}}
{{- if not (or $probe.exec $probe.grpc $probe.tcpSocket) -}}
{{- $get := merge (dict) ($probe.httpGet | default dict) (dict "path" .path "port" "http") -}}
{{- $probe = merge (dict "httpGet" $get) (omit $probe "httpGet") -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{- define "aries-bridge.leastGraceSeconds" -}}
{{- add (ceil .Values.bridge.drainSeconds | int) 15 -}}
{{- end -}}

{{- define "aries-bridge.pod" -}}
metadata:
  labels:
    {{- include "aries-bridge.workloadLabels" . | nindent 4 }}
    {{- with merge (dict) .Values.podLabels .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: aries-bridge
    # The settings only: a list that is reloaded by the program is not among them.
    checksum/config: {{ include "aries-bridge.settings" . | sha256sum }}
    {{- with merge (dict) .Values.podAnnotations .Values.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "aries-bridge.podSettings" (dict "root" . "captures" true) | trim | nindent 2 }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds | default (include "aries-bridge.leastGraceSeconds" .) | int }}
  {{- with include "aries-bridge.spread" . | fromYamlArray }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "aries-bridge.workloadLabels" $ | fromYaml)) }}
    - {{- toYaml (merge (dict) . $selector) | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: aries-bridge
      {{- include "aries-bridge.container" (dict "root" . "args" (list "run")) | nindent 6 }}
      ports:
        - name: http
          containerPort: {{ int .Values.bridge.http.port }}
          protocol: TCP
      startupProbe:
        {{- include "aries-bridge.probe" (dict "path" "/livez" "probe" .Values.probes.startup) | nindent 8 }}
      livenessProbe:
        {{- include "aries-bridge.probe" (dict "path" "/livez" "probe" .Values.probes.liveness) | nindent 8 }}
      readinessProbe:
        {{- include "aries-bridge.probe" (dict "path" "/readyz" "probe" .Values.probes.readiness) | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
