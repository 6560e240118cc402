{{/* The pod, which is the same in the Deployment and in the StatefulSet. */}}

{{/* What every container of ours has: image, security, settings and files. */}}
{{- define "aries-bridge.container" -}}
image: {{ include "aries-bridge.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [aries-bridge]
args: {{ .args | toJson }}
envFrom:
  - configMapRef:
      name: {{ include "aries-bridge.fullname" .root }}
  {{- with .root.Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with concat (.root.Values.extraEnv | default list) (.env | default list) }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "aries-bridge.volumeMounts" .root | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .root.Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
{{- end -}}

{{/* What the pods of the bridge and of `helm test` have in common. */}}
{{- define "aries-bridge.podSettings" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {{ if kindIs "map" . }}{{ toJson . }}{{ else }}name: {{ . }}{{ end }}
  {{- end }}
{{- end }}
serviceAccountName: {{ include "aries-bridge.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $name := list "nodeSelector" "affinity" "tolerations" "hostAliases" "dnsConfig" }}
{{- with index $.Values $name }}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $name := list "priorityClassName" "schedulerName" }}
{{- with index $.Values $name }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- with include "aries-bridge.volumes" . | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "aries-bridge.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
{{ toYaml .probe }}
{{- end -}}

{{- define "aries-bridge.leastGraceSeconds" -}}
{{- add (ceil .Values.bridge.drainSeconds | int) 15 -}}
{{- end -}}

{{- define "aries-bridge.pod" -}}
metadata:
  labels:
    {{- include "aries-bridge.bridgeLabels" . | nindent 4 }}
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
  {{- include "aries-bridge.podSettings" . | trim | nindent 2 }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds | default (include "aries-bridge.leastGraceSeconds" .) | int }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "aries-bridge.bridgeLabels" $ | fromYaml)) }}
    - {{- toYaml (merge (dict) . $selector) | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- if or .Values.preflight.enabled .Values.extraInitContainers }}
  initContainers:
    {{- with .Values.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if .Values.preflight.enabled }}
    - name: check
      {{- include "aries-bridge.container" (dict "root" . "args" (list "check" "--no-session")) | nindent 6 }}
    {{- end }}
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
